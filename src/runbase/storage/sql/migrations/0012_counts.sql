-- opens-with: 9
-- The number of an experiment's runs is counted in an index of its own.

create index runs_of_experiment on runs (experiment_id) where deleted_at is null;
