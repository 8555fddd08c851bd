// Sets each formula with KaTeX. arithmatex leaves formulas between \( and \), or \[ and \], in elements of its class.
document.querySelectorAll(".arithmatex").forEach((each) => {
  const text = each.textContent.trim();
  katex.render(text.slice(2, -2), each, { displayMode: text.startsWith("\\["), throwOnError: true, strict: "error" });
});
// Boxes that scroll are reached by the keyboard.
document.querySelectorAll(".arithmatex, .md-typeset__table, .md-typeset pre").forEach((each) => {
  if (each.scrollWidth > each.clientWidth && getComputedStyle(each).display !== "inline") each.tabIndex = 0;
});
