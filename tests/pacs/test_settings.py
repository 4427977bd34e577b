"""Settings of the PACS servers from a file and from the environment."""

import pytest

from xray_core.errors import PacsError
from xray_core.pacs.settings import Server, find_server, read_servers

SECRET = "s3cret-phrase"


@pytest.fixture
def secrets(tmp_path):
    """`secrets(text)`: a file of secrets with this text."""

    def write(text):
        file = tmp_path / "secrets.toml"
        file.write_text(text)
        return file

    return write


def test_without_settings_there_is_no_server(tmp_path):
    assert read_servers({}, tmp_path / "absent.toml") == {}
    with pytest.raises(PacsError, match=r"No PACS is configured. Set XRAY_PACS_URL, or write"):
        find_server(servers={})


def test_the_environment_configures_one_server(secrets, tmp_path):
    certificate = tmp_path / "ca.pem"
    certificate.write_text("")
    environment = {
        "XRAY_PACS_URL": "https://pacs.example.org/dicom-web/",
        "XRAY_PACS_USER": "reader",
        "XRAY_PACS_PASSWORD": SECRET,
        "XRAY_PACS_CA": str(certificate),
        "XRAY_PACS_CLIENT_CERTIFICATE": str(certificate),
        "XRAY_PACS_TIMEOUT": "5",
        "XRAY_PACS_TRANSFER_TIMEOUT": "60",
        "XRAY_PACS_WRITE": "1",
        "XRAY_PACS_SHOW_IDENTITY": "1",
        "XRAY_PACS_REMOTE": "1",
    }
    file = secrets('[pacs]\nurl = "https://other.example.org"')
    assert read_servers(environment, file) == {
        "environment": Server(
            "environment",
            "https://pacs.example.org/dicom-web",
            user="reader",
            password=SECRET,
            ca=str(certificate),
            client_certificate=str(certificate),
            timeout=5.0,
            transfer_timeout=60.0,
            write=True,
            show_identity=True,
            remote=True,
        )
    }


def test_a_file_configures_several_servers_in_its_order(secrets):
    file = secrets(
        f"""
        [pacs]
        url = "https://a.example.org/dicom-web"
        token = "{SECRET}"
        [pacs.research]
        url = "http://localhost:8042/dicom-web"
        timeout = 2.5
        write = false
        show_identity = true
        remote = true
        """
    )
    servers = read_servers({"XRAY_PACS_WRITE": "1"}, file)
    assert list(servers) == ["pacs", "research"]
    assert servers["pacs"].token == SECRET
    assert (servers["pacs"].write, servers["research"].write) == (True, False)
    assert (servers["pacs"].show_identity, servers["research"].show_identity) == (False, True)
    assert (servers["pacs"].remote, servers["research"].remote) == (False, True)
    assert (servers["pacs"].title, servers["research"].title) == ("PACS", "PACS research")
    assert servers["research"].timeout == 2.5
    assert find_server(None, servers).name == "pacs"
    assert find_server("research", servers).name == "research"
    with pytest.raises(PacsError, match=r"No PACS has this name. Configured: pacs, research."):
        find_server("other", servers)


@pytest.mark.parametrize("value", ["", "0", "true", "no"])
def test_only_1_in_the_environment_allows_storing(secrets, value):
    file = secrets('[pacs]\nurl = "https://a.example.org"\nwrite = true')
    assert read_servers({"XRAY_PACS_WRITE": value}, file)["pacs"].write is False


@pytest.mark.parametrize(
    ("url", "unencrypted"),
    [
        ("http://pacs.example.org/dicom-web", True),
        ("https://pacs.example.org/dicom-web", False),
        ("http://localhost:8042", False),
        ("http://127.0.0.1:8042", False),
        ("http://[::1]:8042", False),
        ("http://127.0.0.1.example.org", True),
    ],
)
def test_a_connection_without_encryption_is_recognised(url, unencrypted):
    assert Server("one", url).is_unencrypted is unencrypted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f'[pacs]\npassword = "{SECRET}', "is not a valid TOML file"),
        (f'pacs = "{SECRET}"', "must be a section"),
        (f'[pacs]\nurl = "ftp://{SECRET}"', "must be the root of a DICOMweb service"),
        (f'[pacs]\nurl = "https://user:{SECRET}@a.org"', "must not contain a password"),
        (f'[pacs]\nurl = "https://a.org/?token={SECRET}"', "must not contain a password"),
        ('[pacs]\nurl = "https://a.org:x"', "must be the root of a DICOMweb service"),
        (f'[pacs]\npassword = "{SECRET}"', "have no url"),
        (f'[pacs]\nurl = "https://a.org"\npassword = "{SECRET}"', "need each other"),
        (
            f'[pacs]\nurl = "https://a.org"\nuser = "a"\npassword = "b"\ntoken = "{SECRET}"',
            "a token and a password: give one",
        ),
        (f'[pacs]\nurl = "https://a.org"\nca = "/{SECRET}"', "ca in .* does not name a file"),
        ('[pacs]\nurl = "https://a.org"\ntimeout = 0', "timeout in .* number of seconds above 0"),
        ('[pacs]\nurl = "https://a.org"\ntimeout = "soon"', "a number of seconds above 0"),
        ('[pacs]\nurl = "https://a.org"\nurls = "x"', "have no field urls"),
        ('[pacs]\nurl = "https://a.org"\nuser = 3', "user in .* a text of one line"),
    ],
)
def test_an_invalid_setting_is_named_without_its_value(secrets, text, message):
    with pytest.raises(PacsError, match=message) as caught:
        read_servers({}, secrets(text))
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(caught.value.__cause__)


def test_a_password_is_in_no_representation():
    server = Server("one", "https://a.org", user="a", password=SECRET, token=SECRET)
    assert SECRET not in repr(server)
