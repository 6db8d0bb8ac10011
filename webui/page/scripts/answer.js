// Everything that can be pressed in the answer carries what it asks for in data-ask; "ask" is the one event sent.
// The answer is written anew each time: folds that were open and the focus are put back where they were.
const open = new Set();

function place(node) {
  return JSON.stringify([node.dataset.ask, node.closest("details")?.dataset.keep]);
}

let focused = null;
let toTop = false; // a new picture is to be seen, and it is at the top
element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-ask]");
  if (!button) return;
  const what = JSON.parse(button.dataset.ask);
  toTop = what.do === "from";
  focused = toTop ? null : place(button);
  trigger("ask", what);
});
element.addEventListener("submit", (event) => {
  const form = event.target.closest("[data-range]");
  if (!form) return;
  event.preventDefault();
  focused = null;
  trigger("ask", { do: "range", facet: form.dataset.range, low: form.low.value, high: form.high.value });
});
element.addEventListener(
  "toggle",
  (event) => {
    const key = event.target.dataset.keep;
    if (key) open[event.target.open ? "add" : "delete"](key);
  },
  true,
);

watch("value", () => {
  if (toTop) window.scrollTo({ top: 0, behavior: "smooth" });
  toTop = false;
  for (const fold of element.querySelectorAll("details[data-keep]")) fold.open = open.has(fold.dataset.keep);
  if (!focused) return;
  const again = [...element.querySelectorAll("[data-ask]")].find((node) => place(node) === focused);
  if (again && again !== document.activeElement) again.focus({ preventScroll: true });
});
