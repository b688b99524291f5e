-- Values outside of a parameter's range that mean something of their own.
-- opens-with: 3

alter table spaces add column special {json}; -- JSON array: of a number, values that it may be beside its range, such as -1 for "as the system likes"
