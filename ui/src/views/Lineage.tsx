import { useEffect, useMemo, useState } from "preact/hooks";
import { get, type Schemas } from "../api/client";
import { plural } from "../parts/format";
import { Link } from "../parts/Link";
import { look } from "../parts/status";
import { failed } from "../parts/toast";
import { go, href } from "../state/url";
import { arrange, BOX, type Relation } from "./lineage/layout";
import { PanZoom } from "./lineage/PanZoom";

interface Node {
  id: string;
  name: string;
  status: string;
  experiment: string;
}

const DEPTH = 3;
const MOST = 80;

/** Whether the other run comes before this one. */
function isBefore(kind: string): boolean {
  return ["parent", "uses", "fork", "resumes", "forked_from"].includes(kind);
}

async function collect(start: string): Promise<{ nodes: Map<string, Node>; edges: Relation[] }> {
  const first = await get<Schemas["Run"]>(`/api/runs/${encodeURIComponent(start)}`);
  const nodes = new Map<string, Node>([[first.id, { id: first.id, name: first.name, status: first.status, experiment: first.experiment }]]);
  const edges: Relation[] = [];
  const seen = new Set<string>();
  let wave = [first.id];
  for (let turn = 0; turn < DEPTH && wave.length && nodes.size < MOST; turn++) {
    const found = await Promise.all(wave.map((id) => get<Schemas["Lineage"]>(`/api/runs/${id}/lineage`).then((one) => [id, one] as const)));
    wave = [];
    for (const [id, { related }] of found) {
      for (const other of related) {
        const before = isBefore(other.kind);
        if (!nodes.has(other.id)) {
          nodes.set(other.id, other);
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
  return <Graph {...graph} />;
}

function Graph({ nodes, edges }: Awaited<ReturnType<typeof collect>>) {
  const placed = useMemo(() => arrange([...nodes.keys()], edges), [nodes, edges]);
  const centre = [...nodes.values()][0]!;
  return (
    <div class="page lineage">
      <header class="top">
        <h1>Lineage</h1>
        <Link to={`/run/${centre.id}`}>{centre.name}</Link>
        <span class="soft">
          {plural(nodes.size, "run")}, {plural(edges.length, "relation")}
          {nodes.size >= MOST ? "; further ones are left out" : ""}
        </span>
      </header>
      {edges.length === 0 && <p class="soft centre">No other run is related to this one.</p>}
      <PanZoom width={placed.width} height={placed.height} centre={placed.nodes.get(centre.id)!} label={`${nodes.size} related runs`}>
        <defs>
          <marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto-start-reverse">
            <path d="M0 1L8 4L0 7z" class="arrow" />
          </marker>
        </defs>
        {placed.edges.map(({ from, to, label, path }) => (
          <path key={`${from}${to}${label}`} d={path} class="edge" marker-end="url(#arrow)" />
        ))}
        {placed.edges.map(({ from, to, label, text, x, y, width }) => (
          <g key={`${from}${to}${label}`} class="edge-label">
            <title>{label}</title>
            <rect x={x - width / 2} y={y - 8} width={width} height={16} rx="3" />
            <text x={x} y={y + 3.5} text-anchor="middle">
              {text}
            </text>
          </g>
        ))}
        {[...nodes.values()].map((node) => (
          <Box key={node.id} node={node} at={placed.nodes.get(node.id)!} here={node.id === centre.id} />
        ))}
      </PanZoom>
    </div>
  );
}

function Box({ node, at, here }: { node: Node; at: { x: number; y: number }; here: boolean }) {
  const { mark, word, colour } = look(node.status);
  const [x, y] = [at.x - BOX.width / 2, at.y - BOX.height / 2];
  return (
    <a
      href={href(`/run/${node.id}`)}
      onClick={(event) => {
        if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey) return;
        event.preventDefault();
        go(`/run/${node.id}`);
      }}
    >
      <rect x={x} y={y} width={BOX.width} height={BOX.height} rx="6" class={here ? "node here" : "node"} />
      <text x={x + 10} y={y + 17} class="name">
        {cut(node.name, 22)}
      </text>
      <text x={x + 10} y={y + 33} style={{ fill: `var(${colour})` }}>
        {mark} {word}
      </text>
      <text x={x + BOX.width - 10} y={y + 33} text-anchor="end">
        {cut(node.experiment, 13)}
      </text>
    </a>
  );
}

function cut(text: string, most: number): string {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}
