/** Charts of expressions over metrics, such as `val/loss - train/loss`. */
import type { Curve, Curves } from "../api/curves";
import { valueAt } from "./groups";

type Operator = "+" | "-" | "*" | "/";
export interface Expression {
  left: Expression | string;
  operator: Operator;
  right: Expression | string;
}

/** Read an expression: names of metrics and numbers, with operators between spaces, from the left to the right; * and / first. */
export function readExpression(text: string): Expression | null {
  const parts = text.trim().split(/\s+([-+*/])\s+/);
  if (parts.length < 3 || parts.some((part) => !part)) return null;
  const values: (Expression | string)[] = [parts[0]!];
  const operators: Operator[] = [];
  for (let place = 1; place < parts.length; place += 2) {
    const operator = parts[place] as Operator;
    const right = parts[place + 1]!;
    if (operator === "*" || operator === "/") values.push({ left: values.pop()!, operator, right });
    else {
      operators.push(operator);
      values.push(right);
    }
  }
  return values.reduce((left, right, place) => ({ left, operator: operators[place - 1]!, right })) as Expression;
}

/** The metrics of an expression. */
export function operands(expression: Expression | string): string[] {
  if (typeof expression === "string") return Number.isNaN(Number(expression)) ? [expression] : [];
  return [...new Set([...operands(expression.left), ...operands(expression.right)])];
}

function apply(operator: Operator, a: number, b: number): number {
  if (operator === "+") return a + b;
  if (operator === "-") return a - b;
  return operator === "*" ? a * b : b === 0 ? Number.NaN : a / b;
}

/** Combine the curves of the operands, run by run, at the x values of the first operand. */
export function evaluate(name: string, expression: Expression, found: Map<string, Curves>): Curves {
  const [first] = [...found.values()];
  const byRun = new Map<string, Map<string, Curve>>();
  for (const [key, { curves }] of found) {
    for (const curve of curves) {
      const own = byRun.get(curve.run) ?? new Map<string, Curve>();
      own.set(key, curve);
      byRun.set(curve.run, own);
    }
  }
  const curves: Curve[] = [];
  for (const [run, own] of byRun) {
    if (own.size < found.size) continue;
    const base = [...own.values()].sort((a, b) => a.x.length - b.x.length)[0]!;
    const at = (one: Expression | string, x: number): number => {
      if (typeof one !== "string") return apply(one.operator, at(one.left, x), at(one.right, x));
      const curve = own.get(one);
      return curve ? valueAt(curve, x) : Number(one);
    };
    const y = base.x.map((x) => at(expression, x));
    curves.push({ ...base, run, key: name, form: "points", low: y, high: y, nans: 0, nanAt: [] });
  }
  const all = [...found.values()];
  return {
    from: Math.min(...all.map((one) => one.from)),
    to: Math.max(...all.map((one) => one.to)),
    columns: first?.columns ?? 1,
    curves,
    bytes: all.reduce((sum, one) => sum + one.bytes, 0),
  };
}
