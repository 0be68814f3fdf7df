"""One runner for every study of the repository: `python -m benchmarks reproduce`.

It trains what is missing, the most useful cells first, one result file per cell, stops when the time is up, resumes
later, and renders every table, figure and page from the finished cells.

A module takes part if it is listed in :data:`~benchmarks.reproduce.registry.MODULES` and has a name `BENCH` or
`STUDIES` that satisfies :class:`~benchmarks.reproduce.interface.Studies`; a listed module that does not exist is left
out. :class:`benchmarks.bench.Bench` satisfies it. Others need two attributes and three methods beside their name:

    class Mine:
        name = "mine"                          # `reproduce mine`; folder of the cells below benchmarks/results
        paper = "2504.11229"                   # arXiv number
        titles = {"delay": "Delay by depth"}   # `reproduce mine/delay`, and a title

        def jobs(self, place):                 # every cell, finished or not, in the order in which to run them
            for setting in self.settings(place.tiny):
                for depth, width in setting.grid:
                    name = f"depth{depth}_width{width}_{setting}"
                    yield Job(
                        name=name,             # the cell's file: place.results / "mine" / f"{name}.json"
                        studies=("delay",),    # every study that shows it: a shared training runs once
                        goal=f"depth {depth}, width {width}",  # equal for the paper's setting and smaller ones
                        setting=setting.description(),         # differences from the paper's setting, "" if none
                        data="mnist",
                        work=2 * multiply_adds(depth, width) * setting.epochs * setting.images * setting.seeds,
                        kind="dense",          # trainings of a kind have about the same seconds per unit of work
                        steps=...,             # optimizer steps, whose overhead counts in small networks
                        is_finished=(place.results / "mine" / f"{name}.json").exists(),
                        seconds=..., device=...,               # of a finished cell: what it took, and where
                        key=(depth, width, setting),           # anything that `run` needs
                    )

        def run(self, job, place):             # train from the last checkpoint; write the cell when it is finished
            ...                                # stop at place.deadline (time.monotonic), on place.device
            return is_finished                 # False if the time was up

        def render(self, place):               # tables and figures from the files, in seconds, without training
            ...                                # below place.results / "mine", and in pages below place.docs

With `place.tiny`, `jobs` returns a few cells of each study on scikit-learn's digits that take seconds in total, for the
test of everything in `.ci/run`; results and pages are then in a temporary folder.

**State.** A *goal* is what a paper's table or figure needs, such as a row, a data set and a seed. It is `done` if a
finished cell has the paper's setting, `reduced` if only cells with smaller settings are finished, `missing` otherwise.

**Order.** :data:`~benchmarks.reproduce.order.ORDER` has one list of patterns per type of device, of cells with the
papers' settings and of others. Cells that match an earlier pattern run first; the others follow in the order of `jobs`,
smaller settings first on a CPU. Earlier stages of a training always come before later ones.

**Estimates.** A cell takes `steps * overhead + work / (rate * threads)` seconds. Both constants come from a short
measurement on this machine, of small networks of the kind, which other processes do not disturb
(:mod:`~benchmarks.reproduce.speed`). The median of measured over estimated seconds of a module's finished cells of the
kind, on the same CPU or GPU, is a factor on its estimates.
"""
