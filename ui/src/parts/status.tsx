import { ago } from "./format";

export interface StatusLook {
  word: string;
  mark: string;
  /** Name of the colour in the style sheet. */
  colour: string;
}

const LOOKS: Record<string, StatusLook> = {
  RUNNING: { word: "running", mark: "▶", colour: "--running" },
  COMPLETED: { word: "completed", mark: "✓", colour: "--good" },
  FAILED: { word: "failed", mark: "✗", colour: "--bad" },
  NODE_FAIL: { word: "lost", mark: "☠", colour: "--bad" },
  OUT_OF_MEMORY: { word: "out of memory", mark: "✗", colour: "--bad" },
  BOOT_FAIL: { word: "boot failure", mark: "✗", colour: "--bad" },
  TIMEOUT: { word: "timed out", mark: "◔", colour: "--warn" },
  DEADLINE: { word: "deadline", mark: "◔", colour: "--warn" },
  CANCELLED: { word: "cancelled", mark: "⊘", colour: "--soft" },
  PREEMPTED: { word: "preempted", mark: "‖", colour: "--warn" },
  SUSPENDED: { word: "suspended", mark: "‖", colour: "--warn" },
  STOPPED: { word: "stopped", mark: "‖", colour: "--warn" },
  PRUNED: { word: "pruned", mark: "✂", colour: "--soft" },
  PENDING: { word: "waiting", mark: "◷", colour: "--soft" },
  REQUEUED: { word: "requeued", mark: "◷", colour: "--soft" },
};

/** The states that are offered when one filters, with what they mean. */
export const STATUSES: [string, string][] = [
  ["RUNNING", "active"],
  ["COMPLETED", "ended well"],
  ["FAILED", "ended with an error"],
  ["NODE_FAIL", "lost: its process or machine is gone"],
  ["CANCELLED", ""],
  ["TIMEOUT", "ended by the time limit"],
  ["PREEMPTED", ""],
  ["OUT_OF_MEMORY", ""],
  ["PRUNED", "a trial that was not promising"],
  ["PENDING", "waits for its start"],
];

/** How a status looks. A run that is active and not alive has been silent for three minutes. */
export function look(status: unknown, alive?: unknown): StatusLook {
  const found = LOOKS[String(status)] ?? { word: String(status).toLowerCase().replaceAll("_", " "), mark: "•", colour: "--soft" };
  if (status === "RUNNING" && alive === false) return { word: "silent", mark: "◌", colour: "--warn" };
  return found;
}

interface Props {
  status: unknown;
  alive?: unknown;
  seen?: string | null;
  /** Only the mark, with the word as its title. */
  short?: boolean;
}

export function Status({ status, alive, seen, short }: Props) {
  const { word, mark, colour } = look(status, alive);
  const last = seen && (status === "RUNNING" || status === "NODE_FAIL") ? `, seen ${ago(seen)}` : "";
  if (short) {
    return (
      <span class="status" role="img" aria-label={word} title={word} style={{ color: `var(${colour})` }}>
        {mark}
      </span>
    );
  }
  return (
    <span class="status" style={{ color: `var(${colour})` }}>
      <span aria-hidden="true">{mark}</span> {word}
      {last && <span class="soft">{last}</span>}
    </span>
  );
}
