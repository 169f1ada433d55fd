// Layers: to come.

export function mountLayers(panel) {
  panel.textContent = "Layers: to come.";
  return { show() {}, hide() {} };
}
