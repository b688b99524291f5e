import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";

export const keysOpen = signal(false);

const KEYS: [string, string][] = [
  ["Ctrl K", "go to a run, experiment, metric or view"],
  ["/", "filter"],
  ["g h  g r  g c  g t", "Home, Runs, Compare, Trials"],
  ["g a  g s  g p  g ,", "Artifacts, SQL, Reports, Settings"],
  ["j  k", "next row, previous row"],
  ["x", "select the row (⇧x: up to it)"],
  ["↵", "open the row"],
  ["c  t  n  ⌫", "compare, tag, note, delete what is selected"],
  ["h  b", "hide what is selected in charts; draw it always, as the baseline"],
  ["l", "logarithmic y axis"],
  ["z", "whole range of x"],
  ["[  ]", "previous run, next run"],
  ["←  →  p", "in Media: previous step, next step, play"],
  ["+  −  0  ⇧ arrows", "in Media: zoom all images, show them whole, move them"],
  ["Esc", "close, or select nothing"],
  ["?", "this list"],
];

export function KeysHelp() {
  const dialog = useRef<HTMLDialogElement>(null);
  const open = keysOpen.value;
  useEffect(() => {
    if (open) dialog.current?.showModal();
    else dialog.current?.close();
  }, [open]);
  return (
    <dialog ref={dialog} class="help" aria-labelledby="keys-title" onClose={() => (keysOpen.value = false)}>
      <h2 id="keys-title">Keys</h2>
      <dl>
        {KEYS.map(([key, what]) => (
          <div key={key}>
            <dt>
              <kbd>{key}</kbd>
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
      <form method="dialog">
        <button>close</button>
      </form>
    </dialog>
  );
}
