// Elements made and changed without HTML in strings: what a client named stays text.

const SVG = "http://www.w3.org/2000/svg";

function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === null || value === false) element.removeAttribute(name);
    else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
  }
  return element;
}

/** An HTML element: `el("p", {class: "hint"}, "text", child)`. */
export function el(tag, attributes = {}, ...children) {
  const element = set(document.createElement(tag), attributes);
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** An SVG element. */
export function svg(tag, attributes = {}, ...children) {
  const element = set(document.createElementNS(SVG, tag), attributes);
  element.append(...children);
  return element;
}

export { set };

/** Set the text of an element; one that has it already is left alone. */
export function text(element, value) {
  if (element.textContent !== value) element.textContent = value;
  return element;
}

/**
 * Make the children of `parent` those of `items`, in their order.
 *
 * A child stays the same element as long as its key is there, and with it the focus, the
 * selection and what a screen reader has of it.
 */
export function keyed(parent, items, key, make, update) {
  parent.querySelector(":scope > .empty")?.remove();
  const old = (parent.kept ??= new Map());
  const kept = new Map();
  let before = null;
  for (const item of items) {
    const name = key(item);
    const child = old.get(name) ?? make(item);
    kept.set(name, child);
    update?.(child, item);
    const place = before === null ? parent.firstChild : before.nextSibling;
    if (place !== child) parent.insertBefore(child, place);
    before = child;
  }
  for (const [name, child] of old) if (!kept.has(name)) child.remove();
  parent.kept = kept;
}

/** Show a message and what to type next in place of something that is empty. */
export function empty(parent, message, command) {
  const there = parent.querySelector(":scope > .empty");
  if (there?.lastChild.textContent === command) return;
  parent.kept = new Map();
  parent.replaceChildren(
    el("div", { class: "empty" }, el("p", {}, message), el("code", { tabindex: 0 }, command)),
  );
}

/** Call `redraw` whenever the size of the element has changed. */
export function onResize(element, redraw) {
  new ResizeObserver(() => requestAnimationFrame(redraw)).observe(element);
}
