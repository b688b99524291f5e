/** Colours of runs: given in the order in which runs are first drawn, so that neighbours differ. */

const LIGHT = [
  "#2f6fde", "#e0632b", "#1f9d67", "#c23a8c", "#8a5cd6", "#b08900",
  "#0f9fb5", "#d13c4b", "#5c8a1e", "#7a6a5d", "#3d4fb8", "#c07a3a",
];
const DARK = [
  "#6ea3ff", "#ff9561", "#4fd09b", "#f07cc0", "#b795ff", "#e3bd3f",
  "#4cd0e3", "#ff7d88", "#a3cf5d", "#b9a99b", "#8f9cff", "#efb173",
];

const places = new Map<string, number>();

/** The place of a run in the palette; it stays the same while the page is open. */
export function placeOf(run: string): number {
  let place = places.get(run);
  if (place === undefined) {
    place = places.size;
    places.set(run, place);
  }
  return place;
}

export function colourOf(run: string, dark: boolean): string {
  const colours = dark ? DARK : LIGHT;
  return colours[placeOf(run) % colours.length] ?? "#888";
}

/** Runs beyond the colours of the palette are dashed, each dozen in another way. */
export function dashOf(run: string): number[] {
  const turn = Math.floor(placeOf(run) / LIGHT.length);
  return [[], [6, 3], [2, 2], [8, 2, 2, 2]][turn % 4] ?? [];
}
