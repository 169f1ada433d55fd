// A mask over a picture, drawn with a brush, a rectangle and a rubber: what it hides a model will find.
import { blankPicture, createBoard, base64Of, writtenPicture } from "./easel.js";
import { action, element, faint, inBar, number, segmented } from "./widgets.js";

const MASK_PARTS = {
  "Lower half": (y) => y >= 0.5, "Right half": (y, x) => x >= 0.5,
  Middle: (y, x) => Math.abs(y - 0.5) < 0.25 && Math.abs(x - 0.5) < 0.25, Everything: () => true, Nothing: () => false,
};

// onchange(whether anything is hidden); read() -> the fields of a request.
export function createMask({ announce, onchange }) {
  let picture = blankPicture(28, 28, 1, 0);
  let [mask, before] = [new Uint8Array(0), null]; // before: the mask where a rectangle began
  const tool = segmented({ label: "Mask", value: "brush",
    options: { brush: "Brush", box: "Rectangle", rubber: "Rubber" } });
  const reach = number({ label: "Brush", value: 4, min: 1, max: 16 });
  const board = createBoard({ label: "Picture to complete", announce, onstroke,
    hint: "Draw over what the model shall find: arrow keys walk, Space draws, Shift with arrow keys draws on.",
    name: (row, column) => `row ${row + 1}, column ${column + 1}, ` +
      (mask[row * picture.width + column] ? "hidden" : "kept") });

  function block([top, left], [bottom, right], value) {
    const { height, width } = picture;
    for (let row = Math.max(0, top); row <= Math.min(bottom, height - 1); row += 1) {
      mask.fill(value, row * width + Math.max(0, left), row * width + Math.min(right, width - 1) + 1);
    }
  }

  function onstroke(cells, { begin, from, at }) {
    if (begin) before = mask.slice();
    const corners = [Math.min, Math.max].map((least) => [0, 1].map((axis) => least(from[axis], at[axis])));
    if (tool.value === "box") {
      mask.set(before);
      block(...corners, 1);
    } else {
      const [less, more] = [Math.floor((reach.value - 1) / 2), Math.ceil((reach.value - 1) / 2)];
      for (const [row, column] of cells) {
        block([row - less, column - less], [row + more, column + more], tool.value === "rubber" ? 0 : 1);
      }
    }
    render();
  }

  function hide(part) {
    const { height, width } = picture;
    const place = (at) => [Math.floor(at / width) / height, at % width / width];
    mask = Uint8Array.from({ length: height * width }, (_, at) => part(...place(at)));
    render();
  }

  function render() {
    board.show(picture, { veil: mask, tones: ["--accent", "--soft"] });
    onchange(mask.includes(1));
  }

  document.addEventListener("themechange", render);
  return {
    node: element("div", { class: "card easel" }, board.node, element("div", {}, inBar(tool.node, reach.node),
      element("div", { class: "bar", role: "group", "aria-label": "Hide a part" },
        ...Object.entries(MASK_PARTS).map(([name, part]) => action(name, () => hide(part), { class: "quiet" }))),
      faint("The checkerboard is hidden: the model fills it in, and leaves every other pixel as it is. Drop a " +
        "picture of your own anywhere here.", "small"))),
    render, focus: () => board.node.focus(),
    read: () => ({ picture: writtenPicture(picture), hidden: base64Of(mask) }),
    set(now, hidden = null) {
      picture = now;
      if (hidden) mask = hidden.slice();
      if (mask.length === now.height * now.width) render();
      else hide(MASK_PARTS["Lower half"]);
    },
  };
}
