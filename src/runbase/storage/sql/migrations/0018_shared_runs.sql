-- opens-with: 9
-- Tokens that read single runs and documents: links to one view.

alter table server_tokens add column runs {json};      -- ids of the only runs that it reads; null: those of its experiments
alter table server_tokens add column documents {json}; -- ids of the only documents that it reads; null: those of its experiments
