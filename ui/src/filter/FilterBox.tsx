import { useEffect, useRef, useState } from "preact/hooks";
import { Icon } from "../parts/icons";
import { STATUSES } from "../parts/status";
import { get, query, quoted, type Problem, type Schemas } from "../api/client";

interface Props {
  value: string;
  onChange: (value: string) => void;
  problem: Problem | null;
  experiment: string | null;
  placeholder?: string;
}

interface Option {
  insert: string;
  label: string;
  note: string;
}

const COLUMNS: [string, string][] = [
  ["status", "state of the run"],
  ["name", "text"],
  ["experiment", "name of the experiment"],
  ["alive", "active, and heard of within three minutes"],
  ["started_at", "time, as in started_at > ago('2 days')"],
  ["created_at", "time"],
  ["ended_at", "time"],
  ["seconds", "how long it ran"],
  ["number", "number in the experiment"],
  ["user", "who started it"],
  ["host", "machine"],
  ["notes", "text"],
  ["exit_code", "number"],
  ["error.type", "name of the exception"],
  ["git.commit", "text"],
  ["git.branch", "text"],
  ["parent", "id of the parent run"],
];
const FIGURES = ["min", "max", "mean", "first", "last", "count", "nans", "min_step", "max_step", "last_step"];
const OPERATORS: [string, string][] = [
  ["=", "equal"],
  ["!=", "not equal"],
  ["<", "less"],
  [">", "greater"],
  ["in (", "one of"],
  ["like '", "text with % and _"],
  ["ilike '", "the same, in any case"],
  ["is null", "has none"],
  ["is not null", "has one"],
  ["between ", "between … and …"],
];

interface Found {
  /** The text before the caret that the options are for. */
  at: string;
  start: number;
  options: Option[];
}

/** What may follow at the end of a text: names, figures of a metric, statuses, operators. */
async function complete(text: string, experiment: string | null): Promise<{ start: number; options: Option[] }> {
  const status = /status\s*(?:=|!=|in\s*\(|,)\s*'?(\w*)$/i.exec(text);
  if (status) {
    const word = status[1]!.toUpperCase();
    const start = text.length - status[1]!.length - (text[text.length - status[1]!.length - 1] === "'" ? 1 : 0);
    return {
      start,
      options: STATUSES.filter(([one]) => one.startsWith(word)).map(([one, note]) => ({ insert: `'${one}' `, label: one, note })),
    };
  }
  const figure = /metrics\.("(?:[^"]|"")*"|\w+)\.(\w*)$/.exec(text);
  if (figure) {
    return {
      start: text.length - figure[2]!.length,
      options: FIGURES.filter((one) => one.startsWith(figure[2]!)).map((one) => ({ insert: `${one} `, label: one, note: "of the metric" })),
    };
  }
  const key = /\b(params?|metrics?|tags?)\.("?)([^\s"=<>!()]*)$/i.exec(text);
  if (key) {
    const family = key[1]!.toLowerCase().replace(/s$/, "");
    const found = await get<Schemas["KnownKey"][]>(
      `/api/keys${query({ kind: family, text: key[3]!, experiment, limit: 30 })}`,
    );
    return {
      start: text.length - key[2]!.length - key[3]!.length,
      options: found.map((one) => ({ insert: `${quoted(one.key)} `, label: one.key, note: note(one) })),
    };
  }
  const after = /(?:^|[\s(])((?:params|metrics|tags)\.(?:"[^"]*"|[\w.]+)|[a-z_.]+)\s+([<>=!a-z]*)$/i.exec(text);
  if (after && !/^(and|or|not)$/i.test(after[1]!)) {
    const typed = after[2]!;
    return {
      start: text.length - typed.length,
      options: OPERATORS.filter(([one]) => one.startsWith(typed)).map(([one, what]) => ({ insert: `${one} `.replace(/([('])\s$/, "$1"), label: one, note: what })),
    };
  }
  const word = /([\w.]*)$/.exec(text)![1]!;
  const options: Option[] = ["params.", "metrics.", "tags."]
    .filter((one) => one.startsWith(word))
    .map((one) => ({ insert: one, label: one, note: `${one.slice(0, -1)} of the run` }));
  for (const [name, what] of COLUMNS) {
    if (name.startsWith(word)) options.push({ insert: `${name} `, label: name, note: what });
  }
  if (/[\w"')]\s+\w*$/.test(text)) {
    for (const one of ["and", "or"]) if (one.startsWith(word)) options.unshift({ insert: `${one} `, label: one, note: "" });
  }
  return { start: text.length - word.length, options };
}

function note(key: Schemas["KnownKey"]): string {
  const runs = `${key.runs} run${key.runs === 1 ? "" : "s"}`;
  if (key.least === null || key.least === undefined) return `${key.type}, ${runs}`;
  return `${Number(key.least.toPrecision(4))} – ${Number((key.greatest ?? 0).toPrecision(4))}, ${runs}`;
}

/** The filter of the page: completes keys and values, and marks where an error is. */
export function FilterBox({ value, onChange, problem, experiment, placeholder }: Props) {
  const input = useRef<HTMLInputElement>(null);
  const [text, setText] = useState(value);
  const [found, setFound] = useState<Found | null>(null);
  const [place, setPlace] = useState(0);
  const asked = useRef(0);

  useEffect(() => setText(value), [value]);

  async function ask(at: string): Promise<void> {
    const turn = ++asked.current;
    try {
      const next = await complete(at, experiment);
      if (turn === asked.current) {
        setFound(next.options.length ? { at, ...next } : null);
        setPlace(0);
      }
    } catch {
      setFound(null);
    }
  }

  function take(option: Option, start: number): void {
    const { current } = input;
    if (!current) return;
    const end = current.selectionStart ?? current.value.length;
    const next = current.value.slice(0, start) + option.insert + current.value.slice(end).replace(/^\s+/, "");
    const caret = start + option.insert.length;
    current.value = next; // at once: who types on must not meet the old text
    current.focus();
    current.setSelectionRange(caret, caret);
    setText(next);
    void ask(next.slice(0, caret));
  }

  /** Take the marked option, or the first one if the options are not those of the text yet. */
  async function takeMarked(): Promise<void> {
    const { current } = input;
    if (!current) return;
    const at = current.value.slice(0, current.selectionStart ?? current.value.length);
    if (found?.at === at) {
      take(found.options[place]!, found.start);
      return;
    }
    const next = await complete(at, experiment);
    const now = current.value.slice(0, current.selectionStart ?? current.value.length);
    if (now === at && next.options[0]) take(next.options[0], next.start);
  }

  const wrong = problem?.where && text === value ? problem.where : null;
  return (
    <div class={problem ? "filter bad" : "filter"} role="search">
      <span class="glass" aria-hidden="true">
        <Icon name="search" />
      </span>
      <div class="field">
        {wrong && (
          <div class="under" aria-hidden="true">
            {text.slice(0, wrong.start)}
            <mark>{text.slice(wrong.start, wrong.end) || " "}</mark>
          </div>
        )}
        <input
          ref={input}
          type="text"
          id="filter"
          autocomplete="off"
          spellcheck={false}
          aria-label="filter"
          aria-invalid={problem !== null}
          aria-describedby={problem ? "filter-problem" : undefined}
          aria-autocomplete="list"
          aria-expanded={found !== null}
          aria-controls="filter-options"
          role="combobox"
          placeholder={placeholder ?? "filter: status = 'RUNNING' and params.lr < 0.01      ( / )"}
          value={text}
          onInput={(event) => {
            const { value: next, selectionStart } = event.currentTarget;
            setText(next);
            void ask(next.slice(0, selectionStart ?? next.length));
          }}
          onFocus={() => void ask(text)}
          onBlur={() => {
            asked.current++;
            setFound(null);
            if (text.trim() !== value) onChange(text.trim());
          }}
          onKeyDown={(event) => {
            if (found && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
              event.preventDefault();
              const count = found.options.length;
              setPlace((place + (event.key === "ArrowDown" ? 1 : count - 1)) % count);
            } else if (found && event.key === "Tab" && !event.shiftKey) {
              event.preventDefault();
              void takeMarked().catch(() => undefined);
            } else if (event.key === "Enter") {
              asked.current++;
              setFound(null);
              onChange(text.trim());
            } else if (event.key === "Escape") {
              event.stopPropagation();
              if (found) setFound(null);
              else {
                setText(value);
                input.current?.blur();
              }
            }
          }}
        />
      </div>
      {text && (
        <button
          type="button"
          class="plain"
          aria-label="remove the filter"
          onClick={() => {
            setText("");
            onChange("");
          }}
        >
          ×
        </button>
      )}
      {found && (
        <ul class="options" id="filter-options" role="listbox">
          {found.options.slice(0, 30).map((option, index) => (
            <li
              key={option.label}
              role="option"
              aria-selected={index === place}
              onPointerDown={(event) => {
                event.preventDefault();
                take(option, found.start);
              }}
            >
              <code>{option.label}</code> <span class="soft">{option.note}</span>
            </li>
          ))}
          <li class="soft hint" role="presentation">
            Tab takes, Enter filters
          </li>
        </ul>
      )}
      {problem && (
        <div class="problem" id="filter-problem" role="alert">
          {problem.detail.split("\n")[0]}
          {problem.where?.suggestion && (
            <button
              type="button"
              onClick={() => {
                const { start, end, suggestion } = problem.where!;
                onChange(text.slice(0, start) + suggestion + text.slice(end));
              }}
            >
              use {problem.where.suggestion}
            </button>
          )}
        </div>
      )}
    </div>
  );
}
