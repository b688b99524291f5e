-- opens-with: 13
-- Whether the journals of a remembered folder are packed, so that packing looks at each folder once.

alter table synced_folders add column packed integer not null default 0; -- 1: all of its journals are packed
create index synced_folders_plain on synced_folders (changed) where packed = 0;
