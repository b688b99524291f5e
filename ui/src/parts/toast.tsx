import { signal } from "@preact/signals";

interface Toast {
  id: number;
  text: string;
  bad: boolean;
  action?: { label: string; run: () => void };
}

const toasts = signal<Toast[]>([]);
let count = 0;

/** Tell the user something; it goes away after a while. */
export function toast(text: string, options: { bad?: boolean; action?: Toast["action"] } = {}): void {
  const id = ++count;
  toasts.value = [...toasts.value, { id, text, bad: options.bad ?? false, action: options.action }];
  setTimeout(() => dismiss(id), options.action ? 10_000 : 5000);
}

function dismiss(id: number): void {
  toasts.value = toasts.value.filter((one) => one.id !== id);
}

export function failed(error: unknown): void {
  if ((error as Error).name === "AbortError") return;
  toast((error as Error).message, { bad: true });
}

export function Toasts() {
  return (
    <div class="toasts" role="status" aria-live="polite">
      {toasts.value.map((one) => (
        <div key={one.id} class={one.bad ? "toast bad" : "toast"}>
          <span>{one.text}</span>
          {one.action && (
            <button
              type="button"
              onClick={() => {
                one.action?.run();
                dismiss(one.id);
              }}
            >
              {one.action.label}
            </button>
          )}
          <button type="button" class="plain" aria-label="dismiss" onClick={() => dismiss(one.id)}>
            ×
          </button>
        </div>
      ))}
    </div>
  );
}

/** Copy text to the clipboard. */
export async function copy(text: string, what: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  toast(`${what} copied`);
}
