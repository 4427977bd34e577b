/* The list of images. Up and down, Home, End and a click open an image; the server is told its
 * number. The marked row follows at once, and is corrected when the server answers.
 * The thumbnails are JPEGs in one file; each row names the first byte of its own and the one after
 * its last. */

const EMPTY =
  "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7";
let lists = 0;
const instances = new WeakMap();

class List {
  constructor(root) {
    this.root = root;
    this.prefix = `cl-${lists++}`;
    this.rows = new Map(); // number -> { element, content }
    root.addEventListener("click", (event) => {
      const row = event.target.closest(".cl-row");
      if (row) this.choose(Number(row.dataset.number));
    });
    root.addEventListener("keydown", (event) => this.key(event));
  }

  show(data, send) {
    this.send = send;
    if (data.thumbnails !== this.address) this.fetchThumbnails(data.thumbnails);
    this.order = data.rows.map((row) => row.number);
    const kept = new Set(this.order);
    for (const [number, { element }] of this.rows) {
      if (kept.has(number)) continue;
      element.remove();
      this.rows.delete(number);
    }
    data.rows.forEach((row, place) => {
      const element = this.row(row);
      if (this.root.children[place] !== element) {
        this.root.insertBefore(element, this.root.children[place] ?? null);
      }
    });
    this.mark(data.selected);
  }

  row(row) {
    const content = JSON.stringify(row), known = this.rows.get(row.number);
    if (known?.content === content) return known.element;
    const element = known?.element ?? document.createElement("div");
    element.className = "cl-row";
    element.id = `${this.prefix}-${row.number}`;
    element.setAttribute("role", "option");
    element.dataset.number = row.number;
    const image = document.createElement("img");
    image.alt = "";
    image.src = EMPTY;
    this.draw(image, ...row.thumbnail);
    const text = document.createElement("div");
    text.className = "cl-text";
    text.append(span("cl-number", row.title), span(`cl-result ${row.tone}`, row.result));
    if (row.note) text.append(span("cl-note", row.note));
    element.title = row.note;
    element.replaceChildren(image, text);
    this.rows.set(row.number, { element, content });
    return element;
  }

  fetchThumbnails(address) {
    this.address = address;
    // no-store: the browser keeps no copy in its cache on disk.
    this.thumbnails = fetch(new URL(address, document.baseURI), { cache: "no-store" })
      .then((reply) => (reply.ok ? reply.arrayBuffer() : Promise.reject(reply.status)))
      .catch(() => {
        if (this.address === address) this.address = null; // fetched again by the next run
      });
    for (const known of this.rows.values()) known.content = ""; // drawn again
  }

  async draw(image, start, end) {
    const bytes = await this.thumbnails;
    if (!bytes || start === end) return;
    const address = URL.createObjectURL(new Blob([bytes.slice(start, end)], { type: "image/jpeg" }));
    image.onload = () => URL.revokeObjectURL(address);
    image.src = address;
  }

  mark(number) {
    const chosen = this.rows.get(number)?.element;
    for (const { element } of this.rows.values()) {
      element.setAttribute("aria-selected", element === chosen);
    }
    if (!chosen) return this.root.removeAttribute("aria-activedescendant");
    this.root.setAttribute("aria-activedescendant", chosen.id);
    if (this.marked === number) return;
    this.marked = number;
    // Not scrollIntoView, which would scroll the page as well.
    const list = this.root.getBoundingClientRect(), row = chosen.getBoundingClientRect();
    if (row.top < list.top) this.root.scrollTop -= list.top - row.top;
    else if (row.bottom > list.bottom) this.root.scrollTop += row.bottom - list.bottom;
  }

  choose(number) {
    if (number === this.marked) return;
    this.mark(number);
    this.send("select", number);
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const last = this.order.length - 1, at = this.order.indexOf(this.marked);
    const place = {
      ArrowUp: at - 1, ArrowLeft: at - 1, ArrowDown: at + 1, ArrowRight: at + 1,
      Home: 0, End: last, PageUp: at - 5, PageDown: at + 5,
    }[event.key];
    if (place === undefined) return;
    event.preventDefault();
    this.choose(this.order[Math.min(last, Math.max(0, place))]);
  }
}

function span(name, text) {
  const element = document.createElement("span");
  element.className = name;
  element.textContent = text;
  return element;
}

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".cl");
  if (!root) return;
  if (!instances.has(root)) instances.set(root, new List(root));
  instances.get(root).show(data, setTriggerValue);
}
