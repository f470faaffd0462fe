// Radio groups made of buttons.

/** Shows which button of a radio group is on. */
export function press(group, name, value) {
  for (const button of document.getElementById(group).querySelectorAll("button")) {
    const on = button.dataset[name] === value;
    button.setAttribute("aria-checked", on);
    button.tabIndex = on ? 0 : -1;
  }
}
/** Calls `chosen(value)` on click and on arrow keys, as a radio group should (WAI-ARIA radio pattern). */
export function radio(group, name, chosen) {
  document.getElementById(group).addEventListener("click", (e) => { const b = e.target.closest("button"); if (b) chosen(b.dataset[name]); });
  document.getElementById(group).addEventListener("keydown", (e) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[e.key];
    if (!step) return;
    e.preventDefault();
    const buttons = [...document.getElementById(group).querySelectorAll("button")];
    const next = buttons[(buttons.indexOf(document.activeElement) + step + buttons.length) % buttons.length];
    next.focus();
    next.click();
  });
}
