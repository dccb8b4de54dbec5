// Making elements, numbers and files. Texts may come from a stranger: they only ever become text nodes.
"use strict";
window.narrowbench = window.narrowbench || {};

// el("td.score", {title: "..."}, "text", node): an element; strings become text.
function el(name, attributes, ...children) {
  const [tag, ...classes] = name.split(".");
  const made = document.createElement(tag);
  if (classes.length) made.className = classes.join(" ");
  return filled(made, attributes, children);
}

function svg(tag, attributes, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function filled(made, attributes, children) {
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value !== null && value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

// A name: whatever its direction, and broken at its underscores where it must be.
const bdi = (text) => el("bdi", null, text.split(/(?<=_)/).flatMap((part, i) => (i ? [el("wbr"), part] : [part])));

// 0.62, with a true minus sign and no negative zero; a dash for nothing.
function num(value, digits = 2) {
  if (value === null || value === undefined) return "–";
  const text = value.toFixed(digits);
  return Number(text) === 0 ? text.replace("-", "") : text.replace("-", "\u2212");
}

function count(value) {
  for (const [size, suffix] of [[1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (value >= size) return (value / size).toFixed(1) + suffix;
  }
  return value.toFixed(value && value < 10 ? 1 : 0);
}

const dollars = (value) => `$${value && value < 0.01 ? value.toPrecision(2) : value.toFixed(2)}`;

function saved(name, type, text) {
  const address = URL.createObjectURL(new Blob([text], { type }));
  const link = el("a", { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

// Copies a text and says so on the button.
async function copied(button, text) {
  const label = button.dataset.label || button.textContent;
  button.dataset.label = label;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = el("textarea.visually-hidden", { readonly: true });
    area.value = text;
    button.after(area);
    area.select();
    document.execCommand("copy");
    area.remove();
    button.focus();
  }
  button.textContent = "copied";
  setTimeout(() => { button.textContent = label; }, 1500);
}

// The page's state, in the address: #access=weights&sort=-recovery. Links to sections keep working beside it.
const state = {
  read() {
    const text = location.hash.slice(1);
    return new URLSearchParams(text.includes("=") ? text : "");
  },
  write(key, value) {
    const parameters = this.read();
    if (value) parameters.set(key, value); else parameters.delete(key);
    history.replaceState(null, "", "#" + (parameters.toString() || "all="));
  },
};

// A labelled choice that lives in the address.
function choice(key, label, options, changed) {
  const select = el("select", { name: key }, options.map(([value, text]) => el("option", { value }, text)));
  const set = () => {
    const wanted = state.read().get(key) || "";
    select.value = options.some(([value]) => value === wanted) ? wanted : options[0][0];
  };
  set();
  select.addEventListener("change", () => {
    state.write(key, select.value === options[0][0] ? "" : select.value);
    changed();
  });
  window.addEventListener("hashchange", () => { set(); });
  return el("label", null, el("span", null, label), select);
}
