// The crop box on the photo. Its place is [left, top, right, bottom] in fractions of the photo; null is all of it.
function cropBox(view, box, changed) {
  const LEAST = 0.08; // of a side: smaller was a slip of the hand
  const WHOLE = [0, 0, 1, 1];
  let place = WHOLE;
  let drag = null; // {corner, from, start}: corner "" moves, "new" draws
  let told = null;
  let later = 0;

  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
  const isWhole = () => place.every((value, side) => Math.abs(value - WHOLE[side]) < 0.01);

  function show() {
    const [left, top, right, bottom] = place.map((value) => 100 * value);
    Object.assign(box.style, { left: left + "%", top: top + "%", width: right - left + "%", height: bottom - top + "%" });
    box.classList.toggle("whole", isWhole());
  }

  function tell() {
    const now = isWhole() ? null : place.map((value) => Math.round(value * 1000) / 1000);
    if (JSON.stringify(now) === JSON.stringify(told)) return;
    told = now;
    changed(now);
  }

  function point(event) {
    const area = view.getBoundingClientRect();
    return [
      clamp((event.clientX - area.left) / area.width, 0, 1),
      clamp((event.clientY - area.top) / area.height, 0, 1),
    ];
  }

  function moved(by, start) {
    const width = start[2] - start[0];
    const height = start[3] - start[1];
    const left = clamp(start[0] + by[0], 0, 1 - width);
    const top = clamp(start[1] + by[1], 0, 1 - height);
    return [left, top, left + width, top + height];
  }

  function sized(corner, at, start) {
    const next = start.slice();
    if (corner.includes("w")) next[0] = clamp(at[0], 0, start[2] - LEAST);
    if (corner.includes("e")) next[2] = clamp(at[0], start[0] + LEAST, 1);
    if (corner.includes("n")) next[1] = clamp(at[1], 0, start[3] - LEAST);
    if (corner.includes("s")) next[3] = clamp(at[1], start[1] + LEAST, 1);
    return next;
  }

  view.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    const corner = event.target.dataset.corner ?? (event.target === box && !isWhole() ? "" : "new");
    if (corner === "new" && event.pointerType === "touch") return; // a finger on the photo scrolls the page
    drag = { corner, from: point(event), start: place };
    view.setPointerCapture(event.pointerId);
    event.preventDefault();
  });
  view.addEventListener("pointermove", (event) => {
    if (!drag) return;
    const at = point(event);
    if (drag.corner === "new") {
      const [x, y] = drag.from;
      if (Math.min(Math.abs(at[0] - x), Math.abs(at[1] - y)) < LEAST) return;
      place = [Math.min(x, at[0]), Math.min(y, at[1]), Math.max(x, at[0]), Math.max(y, at[1])];
    } else if (drag.corner === "") {
      place = moved([at[0] - drag.from[0], at[1] - drag.from[1]], drag.start);
    } else {
      place = sized(drag.corner, at, drag.start);
    }
    show();
  });
  for (const end of ["pointerup", "pointercancel"]) {
    view.addEventListener(end, () => {
      if (drag) tell();
      drag = null;
    });
  }
  view.addEventListener("dblclick", () => {
    place = WHOLE;
    show();
    tell();
  });

  const STEPS = { ArrowLeft: [-0.02, 0], ArrowRight: [0.02, 0], ArrowUp: [0, -0.02], ArrowDown: [0, 0.02] };
  box.addEventListener("keydown", (event) => {
    const step = STEPS[event.key];
    if (event.key === "Escape") place = WHOLE;
    else if (step && event.shiftKey) place = sized("se", [place[2] + step[0], place[3] + step[1]], place);
    else if (step) place = moved(step, place);
    else return;
    event.preventDefault();
    show();
    clearTimeout(later);
    later = setTimeout(tell, 400); // one search for a row of key presses
  });

  show();
  return {
    reset() {
      place = WHOLE;
      told = null;
      show();
    },
  };
}
