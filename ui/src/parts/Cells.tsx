import { value } from "./format";

/** The cells of a row of values that were logged or queried. */
export function Cells({ row, numbers = "number" }: { row: unknown[]; numbers?: string }) {
  return (
    <>
      {row.map((cell, place) => (
        <td key={place} class={typeof cell === "number" ? numbers : ""}>
          {value(cell)}
        </td>
      ))}
    </>
  );
}
