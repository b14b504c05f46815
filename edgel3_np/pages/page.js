"use strict";

// What every page needs: its data, and a short way to make elements. Text becomes text, never HTML.

const about = JSON.parse(document.querySelector("script.about").textContent);
const items = [...document.querySelectorAll("script.item")].map((element) => {
  const item = JSON.parse(element.textContent);
  element.remove();
  return item;
});
const main = document.querySelector("main");
main.textContent = "";

function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role" || name === "list") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children);
  return element;
}

// A name as it is to be read: what cannot be seen, or would turn the line round, has its number.
function readable(name) {
  return name.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (letter) => `\\u{${letter.codePointAt(0).toString(16)}}`);
}

function clock(seconds) {
  const minutes = Math.floor(seconds / 60);
  const rest = (seconds - 60 * minutes).toFixed(2).padStart(5, "0");
  if (minutes < 60) return `${minutes}:${rest}`;
  return `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}:${rest}`;
}

function keys(...pairs) {
  const line = make("p", { className: "keys" });
  for (const [key, purpose] of pairs) line.append(make("span", {}, make("kbd", {}, key), ` ${purpose}`));
  return line;
}

function isTyping(target) {
  return target.matches("input[type=text], select, textarea");
}

document.title = readable(about.title);
