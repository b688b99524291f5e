"""What was found: the default and the best pragmas, with how far repeated measurements lie apart."""

import runbase

with runbase.open("runbase.db") as store:
    experiment = store.experiment("sqlite-pragmas")
    groups = experiment.groups()
    default = min(groups, key=lambda group: group.number)
    best = min(
        (group for group in groups if group.metrics), key=lambda g: g.metrics["seconds"].mean
    )
    for name, group in (("default", default), ("best", best)):
        seconds = group.metrics["seconds"]
        print(f"{name}: {seconds.mean:.3f} s ± {seconds.std or 0:.3f} (n = {seconds.count})")
        for key, value in group.params.items():
            print(f"    {key:13} {value}")
    share = 1 - best.metrics["seconds"].mean / default.metrics["seconds"].mean
    print(f"{share:.0%} less time than with the defaults, over {len(experiment.trials())} trials")
