/** The rows of a table of runs: loaded in pages as they are needed, and kept up to date by live events. */
import { signal } from "@preact/signals";
import { ApiError, post, reachable, type Problem, type Schemas } from "../api/client";
import { follow, type ChangedRuns } from "../api/live";

export interface RowsQuery {
  where: string;
  experiment: string | null;
  columns: string[];
  sort: string;
}

type Answer = Schemas["TableAnswer"];
const FIRST_PAGE = 200;
/** Cells of a further page: as much as arrives and is read within a moment. */
const CELLS = 30_000;
const MOST = 2000;
const ALWAYS = ["name", "status", "alive", "seen_at"];

export class Rows {
  ids: string[] = [];
  columns: Record<string, unknown[]> = {};
  total = 0;
  took = 0;
  /** Counts changes, so that views draw again. */
  readonly version = signal(0);
  readonly problem = signal<Problem | null>(null);
  readonly loading = signal(true);
  /** Runs that match and are newer than the rows. */
  readonly fresh = signal(0);
  /** Counts changes of runs, so that charts ask for new points. */
  readonly moved = signal(0);

  private what: RowsQuery | null = null;
  private cursor: string | null = null;
  private busy = false;
  private abort = new AbortController();
  private stop: () => void = () => undefined;
  private places = new Map<string, number>();
  private newcomers = new Set<string>();
  /** Changes that arrived while rows were asked for: the answer may be older. */
  private late: ChangedRuns[] = [];

  /** Show other rows. The last ones stay until the new ones are here. */
  show(what: RowsQuery): void {
    const old = this.what;
    this.what = what;
    void this.reload();
    const same = old && old.where === what.where && old.experiment === what.experiment;
    if (!same || old.columns.join() !== what.columns.join()) this.listen();
  }

  close(): void {
    this.abort.abort();
    this.stop();
  }

  get names(): string[] {
    return [...new Set([...ALWAYS, ...(this.what?.columns ?? [])])];
  }

  /** Rows of a further page. */
  private get size(): number {
    return Math.min(Math.max(Math.floor(CELLS / this.names.length), FIRST_PAGE), MOST);
  }

  async reload(): Promise<void> {
    if (!this.what) return;
    this.abort.abort();
    this.abort = new AbortController();
    const { signal: aborted } = this.abort;
    this.loading.value = true;
    this.late = [];
    try {
      const limit = Math.max(FIRST_PAGE, Math.min(this.ids.length, this.size));
      const answer = await this.page(null, limit, aborted);
      this.ids = answer.ids;
      this.columns = answer.columns;
      this.total = answer.total ?? answer.ids.length;
      this.cursor = answer.cursor;
      this.took = answer.took_ms;
      this.index(0);
      this.newcomers.clear();
      this.late.splice(0).forEach((changed) => this.apply(changed));
      this.fresh.value = this.newcomers.size;
      this.problem.value = null;
      this.version.value++;
    } catch (error) {
      if (aborted.aborted) return;
      if (error instanceof ApiError && error.problem.status === 401) return; // the sign-in is shown, not an error of the filter
      if (error instanceof ApiError) this.problem.value = error.problem;
      else setTimeout(() => void (reachable.peek() ? null : this.reload()), 3000);
    } finally {
      if (!aborted.aborted) {
        this.loading.value = false;
        this.welcome();
      }
    }
  }

  /** Load more if rows up to this one are looked at. */
  async need(row: number): Promise<void> {
    if (this.busy || this.cursor === null || row < this.ids.length - 60) return;
    this.busy = true;
    this.late = [];
    try {
      const answer = await this.page(this.cursor, this.size, this.abort.signal);
      const begin = this.ids.length;
      this.ids = this.ids.concat(answer.ids);
      for (const name of Object.keys(answer.columns)) {
        this.columns[name] = (this.columns[name] ?? []).concat(answer.columns[name]!);
      }
      this.cursor = answer.cursor;
      this.index(begin);
      this.late.splice(0).forEach((changed) => this.apply(changed));
      this.fresh.value = this.newcomers.size;
      this.version.value++;
    } catch {
      // the next look tries again
    } finally {
      this.busy = false;
    }
  }

  value(row: number, column: string): unknown {
    return this.columns[column]?.[row];
  }

  of(run: string, column: string): unknown {
    const place = this.places.get(run);
    return place === undefined ? undefined : this.columns[column]?.[place];
  }

  private page(after: string | null, limit: number, abort: AbortSignal): Promise<Answer> {
    const { where, experiment, sort } = this.what!;
    const body = {
      where: where || null,
      experiment,
      columns: this.names,
      order_by: sort || null,
      limit,
      after,
      total: after === null,
    };
    return post<Answer>("/api/table", body, abort);
  }

  private index(begin: number): void {
    if (begin === 0) this.places.clear();
    for (let place = begin; place < this.ids.length; place++) this.places.set(this.ids[place]!, place);
  }

  private listen(): void {
    this.stop();
    const { where, experiment } = this.what!;
    this.stop = follow(
      { where: where || null, experiment, columns: this.names },
      { runs: (changed) => this.patch(changed), reset: () => void this.reload() },
    );
  }

  private patch(changed: ChangedRuns): void {
    if (this.busy || this.loading.peek()) this.late.push(changed);
    this.apply(changed);
    this.moved.value++;
    this.fresh.value = this.newcomers.size;
    this.version.value++;
    if (!this.loading.peek()) this.welcome();
  }

  /** A table that is short shows new runs at once; a long one holds still until it is asked. */
  private welcome(): void {
    if (this.newcomers.size && this.ids.length < 20) void this.reload();
  }

  /** Write the cells that changed. */
  private apply(changed: ChangedRuns): void {
    changed.gone.forEach((id) => this.newcomers.delete(id));
    changed.ids.forEach((id, index) => {
      const place = this.places.get(id);
      if (place === undefined) {
        this.newcomers.add(id);
        return;
      }
      this.newcomers.delete(id);
      for (const name of Object.keys(changed.columns)) {
        const column = this.columns[name];
        if (column) column[place] = changed.columns[name]![index];
      }
    });
  }
}
