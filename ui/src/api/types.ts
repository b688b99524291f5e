/** The records of the API that many views show. */
import type { Schemas } from "./client";

export type RunRecord = Schemas["Run"];
export type MediaRecord = Schemas["MediaRecord"];
