/** Where runs, relations and their labels are, so that none covers another one. */
import { graphlib, layout } from "@dagrejs/dagre";

export const BOX = { width: 176, height: 42 };
const LETTER = 6.1;
const MOST_LETTERS = 26;

export interface Relation {
  from: string;
  to: string;
  label: string;
}

export interface Placed {
  width: number;
  height: number;
  /** Id of a run → the middle of its box. */
  nodes: Map<string, { x: number; y: number }>;
  edges: (Relation & { text: string; path: string; x: number; y: number; width: number })[];
}

/** A curve through points: rounded corners between straight pieces. */
function curve(points: { x: number; y: number }[]): string {
  const [first, ...rest] = points;
  if (!first) return "";
  let path = `M${first.x} ${first.y}`;
  rest.forEach((point, place) => {
    const next = rest[place + 1];
    if (!next) path += `L${point.x} ${point.y}`;
    else path += `Q${point.x} ${point.y} ${(point.x + next.x) / 2} ${(point.y + next.y) / 2}`;
  });
  return path;
}

/** Lay out runs from left to right: what came first is to the left. */
export function arrange(runs: string[], relations: Relation[]): Placed {
  const graph = new graphlib.Graph({ multigraph: true });
  graph.setGraph({ rankdir: "LR", nodesep: 22, edgesep: 14, ranksep: 34, marginx: 16, marginy: 16 });
  for (const run of runs) graph.setNode(run, { ...BOX });
  relations.forEach(({ from, to, label }, place) => {
    const text = label.length > MOST_LETTERS ? `…${label.slice(1 - MOST_LETTERS)}` : label;
    graph.setEdge(from, to, { text, width: text.length * LETTER + 10, height: 16, labelpos: "c" }, String(place));
  });
  layout(graph);
  const size = graph.graph() as { width: number; height: number };
  const place = (run: string) => graph.node(run) as { x: number; y: number };
  return {
    width: size.width,
    height: size.height,
    nodes: new Map(runs.map((run) => [run, place(run)])),
    edges: relations.map((relation, index) => {
      const edge = graph.edge({ v: relation.from, w: relation.to, name: String(index) }) as { text: string; x: number; y: number; width: number; points: { x: number; y: number }[] };
      return { ...relation, text: edge.text, x: edge.x, y: edge.y, width: edge.width, path: curve(edge.points) };
    }),
  };
}
