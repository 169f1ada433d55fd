// Two figures in steps: the skew of relative attention and the blocks of local attention, each with its function.
import { action, card, element, faint, freshId, hatched, inBar, resultFooter, saveButtons } from "./widgets.js";
import { segmented, svg, upTo } from "./widgets.js";

const SKEW_LENGTH = 4;
const FIGURE_CELL = 46;

// Cells as SVG: rows of {text, fill, hidden, strong} or null; labels at the left and above.
function cellsPicture({ rows, left = [], above = [], size = FIGURE_CELL, label }) {
  const [indent, top] = [left.length ? 78 : 8, above.length ? 34 : 8];
  const width = indent + Math.max(...rows.map((row) => row.length)) * size + 8;
  const height = top + rows.length * size + 8;
  const hatch = freshId("hatch");
  const text = (x, y, content, more) => svg("text", { x, y, fill: "--ink", "text-anchor": "middle",
    "font-size": Math.min(15, size * 0.4), text: content, ...more });
  const square = (x, y, edge, more) => svg("rect", { x, y, width: edge, height: edge, ...more });
  const drawn = (cell, x, y) => [
    square(x, y, size, { fill: cell.hidden ? `url(#${hatch})` : cell.fill ?? "--card",
      "fill-opacity": cell.faded ? 0.35 : 1, stroke: "--edge", "stroke-width": 1 }),
    cell.text && text(x + size / 2, y + size / 2 + 5, cell.text, cell.ink && { fill: cell.ink }),
    cell.strong && square(x + 2, y + 2, size - 4, { fill: "none", stroke: "--warn", "stroke-width": 3 })];
  return svg("svg", { viewBox: `0 0 ${width} ${height}`, class: "figure", role: "img", "aria-label": label,
    "font-family": "system-ui, sans-serif" },
  hatched(hatch), svg("rect", { width, height, fill: "--card" }),
  ...above.map((one, column) => text(indent + (column + 0.5) * size, 22, one)),
  ...left.map((one, row) => text(indent - 8, top + (row + 0.5) * size + 5, one, { "text-anchor": "end" })),
  ...rows.flatMap((row, down) => row.flatMap((cell, across) =>
    drawn(cell, indent + across * size, top + down * size))));
}

function squareOf(length, cellAt) {
  return upTo(length).map((row) => upTo(length).map((column) => cellAt(row, column)));
}

// The skew of figure 1 of the Music Transformer on 4 positions; a cell names its query and the distance of its row.
function skewSteps() {
  const last = SKEW_LENGTH - 1;
  const names = (letter) => upTo(SKEW_LENGTH).map((one) => `${letter} ${one}`);
  const distances = upTo(SKEW_LENGTH).map((one) => `r${last - one}`);
  const products = squareOf(SKEW_LENGTH, (query, column) => ({ text: `q${query}·r${last - column}`,
    fill: ["--soft", "--card"][query % 2] }));
  const padded = products.map((row) => [{ text: "0", hidden: true }, ...row]);
  const shaped = upTo(SKEW_LENGTH + 1).map((row) => padded.flat().slice(row * SKEW_LENGTH, (row + 1) * SKEW_LENGTH));
  const marked = squareOf(SKEW_LENGTH, (query, key) =>
    (key <= query ? { ...shaped[query + 1][key], strong: true } : { hidden: true }));
  const seen = squareOf(SKEW_LENGTH, (query, column) => ({ ...products[query][column],
    ...(column >= last - query ? { strong: true } : { faded: true }) }));
  const logits = squareOf(SKEW_LENGTH, (query, key) =>
    (key <= query ? { text: `${query},${key}`, fill: "--soft" } : { hidden: true }));
  const [naive, chunked, left] = ["benchmarks/speed/naive.py", "attention/chunked.py", names("query")];
  return [
    { title: "Products with every distance", code: "by_distance", file: "attention/relation.py", rows: products, left,
      above: distances, text: "Each query is multiplied with the vector of every distance: r3 is three positions " +
        "back, r0 its own. But a column means a distance here, and attention needs a column to mean a key." },
    { title: "Pad one column", code: "skew", file: naive, rows: padded, left,
      text: "One column of zeros is put at the left. Every row is now one longer than the number of keys." },
    { title: "Read it in rows of the old length", code: "skew", file: naive, rows: shaped,
      text: "The same numbers, read as five rows of four: each begins one place further to the left." },
    { title: "Cut the first row off", code: "skew", file: naive, rows: marked, left, above: names("key"),
      text: "Query i and key j now meet at the distance i − j. The mask hides the hatched cells, of later keys." },
    { title: "Ours: no copy at all", code: "_sheared", file: chunked, rows: seen, left, above: distances,
      text: "Padding and reshaping move every number. We read the first matrix where it is, through a view whose " +
        "rows begin further and further left (framed), a chunk of queries at a time: memory grows with n, not n²." },
    { title: "Add, mask, softmax", code: "_Walk.probabilities", file: chunked, rows: logits, left, above: names("key"),
      text: "The relative term joins the product of query and key, the future is masked, and the softmax makes " +
        "weights. The definition that they must equal is `weights` in attention/dense.py." },
  ];
}

// Local attention on 16 positions, blocks of 4 that see 4 before them: who sees whom.
function lineSteps() {
  const [size, memory, length] = [4, 4, 16];
  const shade = (query, key) => {
    const begin = query - query % size;
    if (key > query) return { hidden: true };
    return key < begin - memory ? {} : { fill: key >= begin ? "--series-3" : "--series-1" };
  };
  const step = (block, title, text, code, file = "shape/pattern.py") => ({ title, text, code, file, size: 24,
    rows: squareOf(length, (query, key) => ({ ...shade(query, key),
      faded: key <= query && Math.floor(query / size) !== block })) });
  return [
    step(0, "The first block", "Rows are queries, columns keys. The first four positions see each other, up to " +
      "themselves (green); the future is hatched.", "Local1D(query=4, memory=4)"),
    step(1, "The second block", "It sees the four positions before it (blue), and itself (green).", "table"),
    step(2, "Every block alike", "Each row of the table lists the keys of one block: always 8, however long the " +
      "sequence. So the cost grows with n, not with n².", "table"),
    step(3, "Blocks become a batch", "Each block becomes a row of a larger batch, and all are computed at once. " +
      "Blocks that see as much before them as they hold have a faster way, `neighbours`.", "_Fold",
    "attention/blockwise.py"),
  ];
}

// The same on a picture of 8 x 8: blocks of 4 x 4 that see 2 rows above and 2 columns at the left.
function pictureSteps() {
  const [edge, size, memory] = [8, 4, 2];
  const blockOf = (row, column) => Math.floor(row / size) * (edge / size) + Math.floor(column / size);
  const orderOf = (row, column) => blockOf(row, column) * size * size + (row % size) * size + column % size;
  const rows = (block) => squareOf(edge, (row, column) => {
    const [top, begin] = [Math.floor(block / (edge / size)) * size, (block % (edge / size)) * size];
    const text = String(orderOf(row, column));
    if (blockOf(row, column) === block) return { text, fill: "--series-3", ink: "--card" };
    const across = column >= begin - memory && column < begin + size + memory;
    const above = row >= top - memory && row < top && across;
    const beside = row >= top && row < top + size && column >= begin - memory && column < begin;
    return above || beside ? { text, fill: "--series-1", ink: "--card" } : { text };
  });
  const step = (block, title, text, code) => ({ title, text, code, file: "shape/pattern.py", size: 38,
    rows: rows(block) });
  return [
    step(0, "Generation order", "A picture is painted block by block, row by row inside a block: the numbers. " +
      "“Before” means a smaller number. The first block (green) sees itself alone.", "order"),
    step(1, "A block to the right", "It sees two columns to its left (blue), and its own pixels up to each one.",
      "Local2D(8, 8, 4, 4, 2, 2)"),
    step(2, "A block below", "It sees two rows above it, with two more columns at each side where there are any.",
      "table"),
    step(3, "The last block", "Both. The same table serves every way of computing, and each step of painting reads " +
      "one row of it (`visible`).", "table"),
  ];
}

// One figure with its buttons; `changed(step)` is called when a person moves it.
function createStepper({ steps, changed }) {
  let at = 0;
  const [count, heading, text] = [faint("", "small step-count"), element("h4"), element("p")];
  const [code, frame] = [element("p", { class: "small" }), element("div")];
  const back = action("← Previous", () => move(-1));
  const on = action("Next →", () => move(1), { class: "primary" });
  const picture = () => frame.firstChild;
  const node = element("div", { class: "stepper" }, frame, element("div", {},
    element("div", { "aria-live": "polite" }, count, heading, text, code),
    inBar(back, on, saveButtons("figure", picture))));

  function move(by) {
    show(at + by);
    changed(at);
    if ((by > 0 ? on : back).disabled) (by > 0 ? back : on).focus();
  }

  function show(step) {
    const all = steps();
    at = Math.min(Math.max(Math.round(step) || 0, 0), all.length - 1);
    const one = all[at];
    count.textContent = `Step ${at + 1} of ${all.length}`;
    heading.textContent = one.title;
    text.textContent = one.text;
    const [name, file] = [one.code, one.file].map((content) => element("code", { text: content }));
    code.replaceChildren("In our code: ", name, " in ", file);
    frame.replaceChildren(cellsPicture({ ...one, label: `${one.title}. ${one.text}` }));
    back.disabled = at === 0;
    on.disabled = at === all.length - 1;
  }
  show(0);
  return { node, show, get at() { return at; } };
}

// Both figures; show({figure, step}) opens one at a step.
export function createFigures(route) {
  const kinds = { line: lineSteps, picture: pictureSteps };
  const which = segmented({ label: "Local attention of", value: "line",
    onchange: (value) => { local.show(0); address(value, 0); },
    options: { line: "a sequence (1-D)", picture: "a picture (2-D)" } });
  const address = (figure, step) => route.set("figure", { figure, step: step + 1 });
  const skew = createStepper({ steps: skewSteps, changed: (step) => address("skew", step) });
  const local = createStepper({ steps: () => kinds[which.value](), changed: (step) => address(which.value, step) });
  const foot = (figure, stepper) => resultFooter({
    address: () => route.address("figure", { figure: figure(), step: stepper.at + 1 }) });
  const skewed = card("Relative attention: the skew", faint("Music Transformer, section 3.4.1: how a table of " +
    "distances becomes a term for each query and key, without n × n vectors."), skew.node, foot(() => "skew", skew));
  const blocks = card("Local attention: the blocks", faint("Image Transformer, section 3.2: a block of queries " +
    "(green) sees itself and a memory before it (blue)."), which.node, local.node, foot(() => which.value, local));
  return {
    nodes: [skewed, blocks],
    show({ figure, step = 1 }) {
      if (figure !== "skew" && !(figure in kinds)) return;
      if (figure in kinds) which.value = figure;
      (figure === "skew" ? skew : local).show(step - 1);
      (figure === "skew" ? skewed : blocks).scrollIntoView();
    },
  };
}
