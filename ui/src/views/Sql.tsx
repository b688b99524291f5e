import { useSignal } from "@preact/signals";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { ApiError, call, get, post, type Schemas } from "../api/client";
import { asText, save } from "../charts/export";
import { Grid, type Column } from "../grid/Grid";
import { asNumber, number, plural, value } from "../parts/format";
import { Popover } from "../parts/Popover";
import { failed, toast } from "../parts/toast";
import { go, param, setParams } from "../state/url";
import { ResultChart } from "./sql/ResultChart";

type Answer = Schemas["SqlAnswer"];
type Document = Schemas["Document"];

interface SchemaTable {
  kind: string;
  name: string;
  comment: string;
  columns: { name: string; type: string; comment: string }[];
}

const FIRST = `-- One row per run: parameters, tags and last metrics.
select name, status, seconds, params ->> 'lr' as lr
from run_summary
order by started_at desc
limit 100`;
const USEFUL = ["run_summary", "metrics", "runs", "params", "latest", "experiments", "trials", "artifacts", "telemetry", "records"];

/** Queries that only read: an editor with the schema beside it, the rows, and a chart of them. */
export function Sql() {
  const [text, setText] = useState(param("q") || FIRST);
  const [schema, setSchema] = useState<SchemaTable[]>([]);
  const [answer, setAnswer] = useState<Answer | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const [took, setTook] = useState(0);
  const [running, setRunning] = useState(false);
  const [saved, setSaved] = useState<Document[]>([]);
  const [find, setFind] = useState("");
  const [dialect, setDialect] = useState("");
  const [sort, setSort] = useState<{ id: string; descending: boolean } | null>(null);
  const [widths, setWidths] = useState<Record<string, number>>({});
  const field = useRef<HTMLTextAreaElement>(null);
  const hovered = useSignal<string | null>(null);
  const loadSaved = () => {
    get<Document[]>("/api/documents?kind=query").then(setSaved, () => undefined);
  };

  useEffect(() => {
    get<SchemaTable[]>("/api/schema").then(setSchema, failed);
    get<Schemas["About"]>("/api/server").then((found) => setDialect(found.dialect), () => undefined);
    loadSaved();
    if (param("q")) void run(param("q"));
  }, []);

  async function run(query: string): Promise<void> {
    setRunning(true);
    setParams({ q: query }, { replace: true });
    const began = performance.now();
    try {
      setAnswer(await post<Answer>("/api/sql", { query }));
      setProblem(null);
      setSort(null);
    } catch (error) {
      if (error instanceof ApiError) setProblem(error.message);
      else failed(error);
    } finally {
      setTook(performance.now() - began);
      setRunning(false);
    }
  }

  function insert(word: string): void {
    const { current } = field;
    if (!current) return;
    current.focus();
    current.setRangeText(word, current.selectionStart, current.selectionEnd, "end");
    setText(current.value);
  }

  async function keep(): Promise<void> {
    const name = window.prompt("Name of this query:");
    if (!name) return;
    const same = saved.find((one) => one.name === name);
    const body = { kind: "query", name, body: { text } };
    try {
      if (same) await call("PUT", `/api/documents/${same.id}`, { ...body, version: same.version });
      else await post("/api/documents", body);
      toast(`query “${name}” saved`);
      loadSaved();
    } catch (error) {
      failed(error);
    }
  }

  const columns: Column[] = (answer?.columns ?? []).map((name, place) => ({
    id: String(place),
    label: name,
    width: widths[String(place)] ?? width(name, answer!.rows, place),
    numeric: answer!.rows.length > 0 && answer!.rows.every((row) => row[place] === null || asNumber(row[place]) !== null),
  }));
  const rows = useMemo(() => {
    if (!answer || !sort) return answer?.rows ?? [];
    const place = Number(sort.id);
    const factor = sort.descending ? -1 : 1;
    return [...answer.rows].sort((a, b) => {
      const [x, y] = [a[place], b[place]];
      if (x === null) return 1;
      if (y === null) return -1;
      return (typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y))) * factor;
    });
  }, [answer, sort]);
  const runColumn = answer?.columns.findIndex((name) => name === "run_id" || name === "id") ?? -1;
  const tables = [...schema].sort((a, b) => rank(a.name) - rank(b.name) || a.name.localeCompare(b.name));
  const wanted = find.toLowerCase();

  return (
    <div class="sql">
      <header class="top">
        <h1>SQL</h1>
        <button type="button" class="accent" disabled={running} onClick={() => void run(text)}>
          run <kbd>Ctrl ↵</kbd>
        </button>
        <button type="button" disabled={running} onClick={() => void run(`${dialect === "sqlite" ? "explain query plan" : "explain"} ${text.replace(/^(\s*--.*\n)+/, "")}`)}>
          explain
        </button>
        <Popover label={saved.length ? `Queries ${saved.length}` : "Queries"}>
          {(close) => (
            <div class="menu">
              <button type="button" onClick={() => (void keep(), close())}>
                Save this query …
              </button>
              {saved.length > 0 && <hr />}
              {saved.map((one) => (
                <div class="row" key={one.id}>
                  <button
                    type="button"
                    onClick={() => {
                      const { text: found } = one.body as { text: string };
                      setText(found);
                      void run(found);
                      close();
                    }}
                  >
                    {one.name} <span class="soft">{one.owner}</span>
                  </button>
                  <button type="button" class="plain" aria-label={`remove the query ${one.name}`} onClick={() => call("DELETE", `/api/documents/${one.id}`).then(loadSaved, failed)}>
                    ×
                  </button>
                </div>
              ))}
            </div>
          )}
        </Popover>
        {answer && answer.rows.length > 0 && (
          <button type="button" onClick={() => save("query.csv", asText(answer.columns, answer.rows), "text/csv")}>
            CSV
          </button>
        )}
        <span class="soft push">
          {running ? <span class="spin" /> : null}
          {answer && !problem ? `${plural(answer.rows.length, "row")}${answer.more ? " (more are cut off)" : ""}, ${Math.round(took)} ms · ` : ""}read only · {dialect}
        </span>
      </header>
      <div class="sql-body">
        <div class="editor">
          <textarea
            ref={field}
            class="code"
            aria-label="query"
            spellcheck={false}
            value={text}
            onInput={(event) => setText(event.currentTarget.value)}
            onKeyDown={(event) => {
              if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
                event.preventDefault();
                void run(text);
              } else if (event.key === "Tab" && !event.shiftKey) {
                const { current } = field;
                const word = current ? /[\w.]+$/.exec(current.value.slice(0, current.selectionStart))?.[0] : undefined;
                const names = word ? completions(schema, word) : [];
                if (word && names.length === 1) {
                  event.preventDefault();
                  insert(names[0]!.slice(word.length));
                }
              }
            }}
          />
          {problem && (
            <pre class="problem" role="alert">
              {problem}
            </pre>
          )}
          {answer && !problem && (
            <>
              {answer.note && <p class="notice">{answer.note}</p>}
              <ResultChart answer={answer} />
              <div class="results">
                {answer.rows.length ? (
                  <Grid
                    label="rows of the query"
                    columns={columns}
                    count={rows.length}
                    id={(row) => String(row)}
                    cell={(row, column) => {
                      const found = rows[row]?.[Number(column.id)];
                      if (found === null || found === undefined) return { text: "null", colour: "--faint" };
                      return { text: column.numeric ? number(asNumber(found) ?? Number.NaN) : value(found) };
                    }}
                    sort={sort}
                    onSort={(column) => setSort(sort?.id !== column.id ? { id: column.id, descending: false } : sort.descending ? null : { id: column.id, descending: true })}
                    onResize={(id, width) => setWidths({ ...widths, [id]: width })}
                    onOpen={(id) => {
                      const key = runColumn >= 0 ? rows[Number(id)]?.[runColumn] : null;
                      if (typeof key === "string") go(`/run/${key}`);
                    }}
                    onNeed={() => undefined}
                    hovered={hovered}
                  />
                ) : (
                  <p class="soft centre">The query returned no row.</p>
                )}
              </div>
            </>
          )}
        </div>
        <aside class="schema" aria-label="schema">
          <input type="search" aria-label="find a table or column" placeholder="find a table or column" value={find} onInput={(event) => setFind(event.currentTarget.value)} />
          {tables
            .filter((table) => !wanted || table.name.includes(wanted) || table.columns.some((one) => one.name.includes(wanted)))
            .map((table) => (
              <details key={table.name} open={wanted !== "" && !table.name.includes(wanted)}>
                <summary title={table.comment}>
                  <code>{table.name}</code> <span class="soft">{table.kind === "view" ? "view" : ""}</span>
                </summary>
                {table.comment && <p class="soft">{table.comment}</p>}
                {table.columns.map((one) => (
                  <button key={one.name} type="button" class="plain column" title={one.comment} onClick={() => insert(one.name)}>
                    <code>{one.name}</code> <span class="soft">{one.type.toLowerCase()}</span>
                  </button>
                ))}
              </details>
            ))}
        </aside>
      </div>
    </div>
  );
}

/** A width for the name of a column and its first values. */
function width(name: string, rows: unknown[][], place: number): number {
  const longest = Math.max(...rows.slice(0, 50).map((row) => value(row[place]).length), name.length + 2);
  return Math.min(Math.max(longest * 7.4 + 24, 70), 320);
}

function rank(name: string): number {
  const place = USEFUL.indexOf(name);
  return place < 0 ? USEFUL.length : place;
}

/** Names of tables and columns that begin with a word. */
function completions(schema: SchemaTable[], word: string): string[] {
  const names = new Set<string>();
  for (const table of schema) {
    if (table.name.startsWith(word)) names.add(table.name);
    for (const column of table.columns) if (column.name.startsWith(word)) names.add(column.name);
  }
  return [...names];
}
