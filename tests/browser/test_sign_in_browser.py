"""Sign-in against an OpenID Connect provider that runs on this computer."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from browser_tools import Server, drop
from drawn_images import encoded

pytestmark = pytest.mark.browser
provider_of_tests = pytest.importorskip("oidc_provider_mock")
pytest.importorskip("authlib")

SECRETS = """[auth]
redirect_uri = "{app}/oauth2callback"
cookie_secret = "of these tests only"
client_id = "chest-xray"
client_secret = "of these tests only"
server_metadata_url = "{provider}/.well-known/openid-configuration"
"""


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    """The address of the provider, which accepts any name without a password."""
    with provider_of_tests.run_server_in_thread() as server:
        yield f"http://localhost:{server.server_port}"


@pytest.fixture(scope="module")
def server(
    provider: str,
    start_server: Callable[..., Server],
    micro_bundle: Path,
    tmp_path_factory: pytest.TempPathFactory,
    free_port: Callable[[], int],
) -> Server:
    """The app with a sign-in, with one model."""
    folder = tmp_path_factory.mktemp("sign-in")
    shutil.copytree(micro_bundle, folder / "models" / "micro")
    port = free_port()
    secrets = folder / "secrets.toml"
    secrets.write_text(SECRETS.format(app=f"http://localhost:{port}", provider=provider))
    return start_server(
        folder / "models",
        port=port,
        STREAMLIT_SECRETS_FILES=str(secrets),
        AUTHLIB_INSECURE_TRANSPORT="1",
    )


def sign_in(page: object, name: str) -> None:
    page.get_by_role("button", name="Sign in").click()
    page.get_by_placeholder("sub").fill(name)
    page.get_by_role("button", name="Authorize", exact=True).click()
    page.get_by_text(f"Signed in as {name}").wait_for(state="attached")


@pytest.mark.parametrize("path", ["", "dataset", "evaluation", "training"])
def test_a_page_shows_nothing_before_the_sign_in(server: Server, page: object, path: str) -> None:
    page.goto(f"{server.url}/{path}")
    page.get_by_role("button", name="Sign in").wait_for()
    assert page.locator('input[type="file"]').count() == 0
    assert page.get_by_test_id("stTopNavLink").count() == 0
    assert "micro" not in page.content()


def test_images_end_with_the_sign_in(server: Server, page: object) -> None:
    page.goto(server.url)
    sign_in(page, "reader")
    drop(page, ("image.png", encoded(np.full((64, 64), 90, np.uint8), "png")))
    page.get_by_role("button", name="Clear").wait_for()
    page.get_by_role("button", name="Sign out").dispatch_event("click")
    page.get_by_role("button", name="End session").click()  # the provider's own question
    page.get_by_role("button", name="Sign in").wait_for()
    sign_in(page, "other")
    page.locator('input[type="file"]').first.wait_for(state="attached")
    assert page.get_by_role("button", name="Clear").count() == 0


def test_a_forged_cookie_does_not_sign_in(server: Server, page: object) -> None:
    forged = '{"is_logged_in": true, "sub": "reader", "origin": "' + server.url + '"}'
    page.context.add_cookies([{"name": "_streamlit_user", "value": forged, "url": server.url}])
    page.goto(server.url)
    page.get_by_role("button", name="Sign in").wait_for()
    assert page.locator('input[type="file"]').count() == 0
