// A strip treemap: rows of rectangles whose areas are in proportion, in the order given.
//
// A squarified one has squarer rectangles, but sorts them by size: with each load and eviction
// everything would change places. Here what comes takes the place of what went.

const worst = (row, sum, width) => {
  const height = sum / width;
  return Math.max(...row.map((area) => Math.max(area / height / height, (height * height) / area)));
};

/**
 * Lay out areas in a rectangle.
 *
 * @param {number[]} sizes each above zero
 * @returns {{left: number, top: number, width: number, height: number}[]} in the unit of `width`
 */
export function strips(sizes, width, height) {
  const total = sizes.reduce((sum, size) => sum + size, 0);
  const areas = sizes.map((size) => (size * width * height) / total);
  const rows = [];
  let row = [];
  let sum = 0;
  for (const area of areas) {
    if (row.length && worst([...row, area], sum + area, width) > worst(row, sum, width)) {
      rows.push(row);
      [row, sum] = [[], 0];
    }
    row.push(area);
    sum += area;
  }
  if (row.length) rows.push(row);
  return merged(rows, width).flatMap(place(width));
}

function merged(rows, width) {
  if (rows.length < 2) return rows;
  const last = rows.at(-1);
  const joined = [...rows.at(-2), ...last];
  const sum = (row) => row.reduce((total, area) => total + area, 0);
  if (worst(joined, sum(joined), width) >= worst(last, sum(last), width)) return rows;
  return [...rows.slice(0, -2), joined];
}

function place(width) {
  let top = 0;
  return (row) => {
    const height = row.reduce((sum, area) => sum + area, 0) / width;
    let left = 0;
    const boxes = row.map((area) => {
      const box = { left, top, width: area / height, height };
      left += box.width;
      return box;
    });
    top += height;
    return boxes;
  };
}

/**
 * The order of the last layout with what is gone replaced by what is new, so that little moves.
 *
 * @param {string[]} before
 * @param {string[]} names what there is now
 */
export function settled(before, names) {
  const now = new Set(names);
  const there = new Set(before);
  const fresh = names.filter((name) => !there.has(name));
  const order = [];
  for (const name of before) {
    if (now.has(name)) order.push(name);
    else if (fresh.length) order.push(fresh.shift());
  }
  return [...order, ...fresh];
}
