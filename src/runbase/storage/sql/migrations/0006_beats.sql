-- Signs of life by the database's own clock, so that whether a run is alive does not depend on its host's.
-- opens-with: 3

alter table runs add column beat_at {time}; -- its last sign of life, by the database's clock
