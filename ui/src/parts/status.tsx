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
  LOST: { word: "lost", mark: "☠", colour: "--bad" },
  TIMEOUT: { word: "timed out", mark: "◔", colour: "--warn" },
  CANCELLED: { word: "cancelled", mark: "⊘", colour: "--soft" },
  INTERRUPTED: { word: "interrupted", mark: "‖", colour: "--warn" },
  PREEMPTED: { word: "preempted", mark: "‖", colour: "--warn" },
  PRUNED: { word: "pruned", mark: "✂", colour: "--soft" },
  PENDING: { word: "waiting", mark: "◷", colour: "--soft" },
  SCHEDULED: { word: "scheduled", mark: "◷", colour: "--soft" },
};

/** How a status looks. A run that is active and not alive has been silent for three minutes. */
export function look(status: unknown, alive?: unknown): StatusLook {
  const found = LOOKS[String(status)] ?? { word: String(status).toLowerCase(), mark: "•", colour: "--soft" };
  if (status === "RUNNING" && alive === false) return { word: "silent", mark: "◌", colour: "--warn" };
  return found;
}

export function Status({ status, alive, seen }: { status: unknown; alive?: unknown; seen?: string | null }) {
  const { word, mark, colour } = look(status, alive);
  const last = seen && (status === "RUNNING" || status === "LOST") ? `, seen ${ago(seen)}` : "";
  return (
    <span class="status" style={{ color: `var(${colour})` }}>
      <span aria-hidden="true">{mark}</span> {word}
      {last && <span class="soft">{last}</span>}
    </span>
  );
}
