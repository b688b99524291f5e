import { useEffect, useState } from "preact/hooks";
import { get, type Schemas } from "../api/client";
import { plural } from "../parts/format";
import { Link } from "../parts/Link";
import { look } from "../parts/status";
import { failed } from "../parts/toast";
import { href } from "../state/url";

interface Node {
  id: string;
  name: string;
  status: string;
  experiment: string;
  /** Columns to the right of the run that was asked for; negative: before it. */
  depth: number;
}

interface Edge {
  from: string;
  to: string;
  label: string;
}

const DEPTH = 3;
const MOST = 80;
const BOX = { width: 170, height: 40, gapX: 110, gapY: 18 };

/** Whether the other run comes before this one. */
function isBefore(kind: string): boolean {
  return ["parent", "uses", "fork", "resumes", "forked_from"].includes(kind);
}

async function collect(start: string): Promise<{ nodes: Map<string, Node>; edges: Edge[] }> {
  const first = await get<Schemas["Run"]>(`/api/runs/${encodeURIComponent(start)}`);
  const nodes = new Map<string, Node>([[first.id, { id: first.id, name: first.name, status: first.status, experiment: first.experiment, depth: 0 }]]);
  const edges: Edge[] = [];
  const seen = new Set<string>();
  let wave = [first.id];
  for (let turn = 0; turn < DEPTH && wave.length && nodes.size < MOST; turn++) {
    const found = await Promise.all(wave.map((id) => get<Schemas["Lineage"]>(`/api/runs/${id}/lineage`).then((one) => [id, one] as const)));
    wave = [];
    for (const [id, { related }] of found) {
      for (const other of related) {
        const before = isBefore(other.kind);
        if (!nodes.has(other.id)) {
          nodes.set(other.id, { ...other, depth: nodes.get(id)!.depth + (before ? -1 : 1) });
          wave.push(other.id);
        }
        const [from, to] = before ? [other.id, id] : [id, other.id];
        const label = other.artifact ?? (other.kind === "parent" || other.kind === "child" ? "child" : other.kind);
        const key = `${from} ${to} ${label}`;
        if (!seen.has(key)) edges.push({ from, to, label });
        seen.add(key);
      }
    }
  }
  return { nodes, edges };
}

/** Runs around a run: parents and children, and who used whose artifacts. */
export function Lineage({ run = "" }: { run?: string }) {
  const [graph, setGraph] = useState<Awaited<ReturnType<typeof collect>> | null>(null);
  useEffect(() => {
    setGraph(null);
    collect(run).then(setGraph, failed);
  }, [run]);
  if (!graph) return null;
  const columns = new Map<number, Node[]>();
  for (const node of graph.nodes.values()) columns.set(node.depth, [...(columns.get(node.depth) ?? []), node]);
  const depths = [...columns.keys()].sort((a, b) => a - b);
  const tallest = Math.max(...[...columns.values()].map((one) => one.length));
  const height = tallest * (BOX.height + BOX.gapY) + 20;
  const places = new Map<string, { x: number; y: number }>();
  depths.forEach((depth, column) => {
    const nodes = columns.get(depth)!;
    const top = (height - nodes.length * (BOX.height + BOX.gapY)) / 2;
    nodes.forEach((node, place) => places.set(node.id, { x: 20 + column * (BOX.width + BOX.gapX), y: top + place * (BOX.height + BOX.gapY) }));
  });
  const width = depths.length * (BOX.width + BOX.gapX) - BOX.gapX + 40;
  const centre = [...graph.nodes.values()][0]!;
  return (
    <div class="page">
      <header class="top">
        <h1>Lineage</h1>
        <Link to={`/run/${centre.id}`}>{centre.name}</Link>
        <span class="soft">
          {plural(graph.nodes.size, "run")}, {plural(graph.edges.length, "relation")}
        </span>
      </header>
      {graph.edges.length === 0 && <p class="soft centre">No other run is related to this one.</p>}
      <div class="scroll">
        <svg class="graph" width={width} height={height} role="group" aria-label={`${graph.nodes.size} related runs`}>
          {graph.edges.map(({ from, to, label }) => {
            const [a, b] = [places.get(from)!, places.get(to)!];
            const [x1, y1, x2, y2] = [a.x + BOX.width, a.y + BOX.height / 2, b.x, b.y + BOX.height / 2];
            const bend = Math.max((x2 - x1) / 2, 30);
            return (
              <g key={`${from}${to}${label}`}>
                <path d={`M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`} class="edge" />
                <text x={(x1 + x2) / 2} y={(y1 + y2) / 2 - 4} text-anchor="middle">
                  {label.length > 18 ? `…${label.slice(-17)}` : label}
                </text>
              </g>
            );
          })}
          {[...graph.nodes.values()].map((node) => {
            const { x, y } = places.get(node.id)!;
            const { mark, word, colour } = look(node.status);
            return (
              <a key={node.id} href={href(`/run/${node.id}`)}>
                <rect x={x} y={y} width={BOX.width} height={BOX.height} rx="6" class={node.id === centre.id ? "node here" : "node"} />
                <text x={x + 10} y={y + 17} class="name">
                  {node.name.slice(0, 22)}
                </text>
                <text x={x + 10} y={y + 32} style={{ fill: `var(${colour})` }}>
                  {mark} {word}
                </text>
                <text x={x + BOX.width - 8} y={y + 32} text-anchor="end">
                  {node.experiment.slice(0, 14)}
                </text>
              </a>
            );
          })}
        </svg>
      </div>
    </div>
  );
}
