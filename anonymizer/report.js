"use strict";
// Sorts a table by the column whose heading is pressed; without scripts the tables stay as they are.
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const heading = button.parentElement;
    const table = heading.closest("table");
    const column = heading.cellIndex;
    const up = heading.getAttribute("aria-sort") === "descending";
    for (const other of heading.parentElement.cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", up ? "ascending" : "descending");
    const value = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
    const order = (one, two) => value(one).localeCompare(value(two), "en", { numeric: true });
    const rows = [...table.tBodies[0].rows].sort((one, two) => (up ? order(one, two) : order(two, one)));
    table.tBodies[0].append(...rows);
  });
}
