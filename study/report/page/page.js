"use strict";
// Names the nearest point of a figure on hover, and with the arrow keys when the figure has the focus.
for (const data of document.querySelectorAll("script[data-points]")) {
  const points = JSON.parse(data.textContent).sort((a, b) => a.x - b.x || a.y - b.y);
  const figure = document.getElementById(data.dataset.points);
  const svg = figure.querySelector("svg");
  const frame = figure.querySelector(".scroll");
  const tip = document.getElementById("tip");
  const ring = document.createElementNS("http://www.w3.org/2000/svg", "circle");
  ring.setAttribute("class", "ring");
  ring.setAttribute("r", "6");
  let current = -1;

  const hide = () => { tip.hidden = true; ring.remove(); current = -1; };
  const show = (index) => {
    current = index;
    const point = points[index];
    ring.setAttribute("cx", point.x);
    ring.setAttribute("cy", point.y);
    svg.append(ring);
    tip.textContent = point.text;
    tip.hidden = false;
    const box = ring.getBoundingClientRect();
    const left = box.left + box.width / 2 - tip.offsetWidth / 2;
    tip.style.left = `${Math.max(8, Math.min(left, innerWidth - tip.offsetWidth - 8))}px`;
    tip.style.top = `${box.top > tip.offsetHeight + 12 ? box.top - tip.offsetHeight - 6 : box.bottom + 6}px`;
  };

  svg.addEventListener("pointermove", (event) => {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    let best = -1, least = 12 * 12;
    points.forEach((point, index) => {
      const distance = (point.x - at.x) ** 2 + (point.y - at.y) ** 2;
      if (distance < least) { least = distance; best = index; }
    });
    if (best < 0) hide(); else if (best !== current) show(best);
  });
  svg.addEventListener("pointerleave", hide);
  frame.addEventListener("blur", hide);
  frame.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (event.key === "Escape") hide();
    if (!step || !points.length) return;
    event.preventDefault();
    show((current + step + points.length) % points.length);
  });
  addEventListener("scroll", hide, { passive: true });
}
// Print what is folded away.
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((d) => { d.open = true; }));
