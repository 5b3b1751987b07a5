/** Where a key leads to in a grid of `columns`, from the tile that is `active`; null for a key that leads nowhere. */
export function stepOf({ key, ctrlKey }, { active, columns, count, pageRows }) {
  const start = active - (active % columns);
  switch (key) {
    case "ArrowRight":
      return active + 1;
    case "ArrowLeft":
      return active - 1;
    case "ArrowDown":
      return active + columns < count ? active + columns : active;
    case "ArrowUp":
      return active >= columns ? active - columns : active;
    case "PageDown":
      return active + pageRows * columns;
    case "PageUp":
      return active - pageRows * columns;
    case "Home":
      return ctrlKey ? 0 : start;
    case "End":
      return ctrlKey ? count - 1 : start + columns - 1;
    default:
      return null;
  }
}
