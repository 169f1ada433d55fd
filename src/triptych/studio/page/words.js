// Words: to come.

export function mountWords(panel) {
  panel.textContent = "Words: to come.";
  return { show() {}, hide() {} };
}
