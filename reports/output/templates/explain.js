// What a figure is: its entry in the list of metrics, shown beside the "?" that asks for it. Without scripts that link leads to the list.

const definition = document.body.appendChild(document.createElement("div"));
definition.className = "definition";
definition.popover = "auto"; // Escape and a click elsewhere close it, and the focus goes back to the link
definition.tabIndex = -1;
definition.setAttribute("role", "dialog");

document.addEventListener("click", (event) => {
  const link = event.target.closest("a.what");
  if (!link) return;
  event.preventDefault(); // the address holds the setting
  const entry = document.getElementById(link.hash.slice(1));
  const list = document.createElement("dl");
  list.append(...[...entry.children].map((part) => part.cloneNode(true)));
  definition.replaceChildren(list);
  definition.setAttribute("aria-label", entry.querySelector("dt").textContent);
  definition.showPopover();
  const place = link.getBoundingClientRect(), { width, height } = definition.getBoundingClientRect();
  definition.style.left = `${Math.max(8, Math.min(place.left, document.documentElement.clientWidth - width - 8))}px`;
  definition.style.top = `${place.bottom + height + 8 < innerHeight ? place.bottom + 4 : Math.max(8, place.top - height - 4)}px`;
  definition.focus();
});

/** The "?" beside a choice is that of what is chosen. */
function explainBeside(place, name) {
  const link = document.querySelector(`[data-about="${place}"] a`), entry = document.getElementById(`about-${name}`);
  link.href = `#about-${name}`;
  link.setAttribute("aria-label", `What is ${entry.querySelector("dt").textContent}?`);
}
