/** A view of runs as a command, as Python, as SQL, and as an address. */
import { literal } from "../api/client";

const MOST_IDS = 1000;

export interface Copied {
  where: string;
  sort: string;
  experiment: string | null;
  /** Chosen columns, or null. */
  columns: string[] | null;
  selected: string[];
  /** The runs that the table shows: what a filter means in SQL. */
  ids: string[];
}

function shell(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

export function asCopy(kind: "cli" | "python" | "sql" | "url", { where, sort, experiment, columns, selected, ids }: Copied): string {
  const filter = selected.length ? `id in (${selected.map(literal).join(", ")})` : where;
  const store = new URL(document.baseURI).href.replace(/\/$/, "");
  if (kind === "url") return window.location.href;
  if (kind === "cli") {
    return [
      "runbase runs",
      ...(filter ? [shell(filter)] : []),
      ...(experiment ? ["-e", shell(experiment)] : []),
      ...(sort ? ["--sort", shell(sort)] : []),
      ...(columns ?? []).filter((name) => name.includes(".")).map((name) => `-c ${shell(name)}`),
      `--store ${store}`,
    ].join(" ");
  }
  if (kind === "python") {
    const given = [
      filter ? JSON.stringify(filter) : "None",
      ...(sort ? [`order_by=${JSON.stringify(sort)}`] : []),
      ...(experiment ? [`experiment=${JSON.stringify(experiment)}`] : []),
    ];
    return `import runbase\n\nstore = runbase.open(${JSON.stringify(store)})\nruns = store.runs(${given.join(", ")})\n`;
  }
  const listed = selected.length ? selected : where ? ids.slice(0, MOST_IDS) : [];
  const conditions = [
    ...(listed.length ? [`id in (${listed.map(literal).join(", ")})`] : []),
    ...(experiment ? [`experiment = ${literal(experiment)}`] : []),
  ];
  const note = where && !selected.length ? `-- the filter of the page: ${where.replaceAll("\n", " ")}\n` : "";
  return `${note}select * from run_summary${conditions.length ? `\nwhere ${conditions.join("\n  and ")}` : ""}\norder by started_at desc;\n`;
}
