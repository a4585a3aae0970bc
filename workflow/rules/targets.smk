# One target for each table and each figure of `benchmarks/`, and for all of them together. A target asks for every
# file that it is made from: a missing or stale result can never hide behind an old table.
localrules:
    tables,
    figures,
    splits,
    teachers,
    students,
    features,
    encoders,


rule tables:
    default_target: True
    input:
        results=RESULTS.files_behind(PLAN.tables),
        comparison=rules.compare.output,
    message:
        "all tables are complete"


rule figures:
    input:
        [
            path
            for name in RESULTS.figures()
            for path in RESULTS.files_behind_figure(name)
        ],
    message:
        "all figures are drawn"


rule splits:
    input:
        RESULTS.splits(),
    message:
        "all splits are complete"


# The teachers that the suite trains; `kdx2i ship` puts one in the place of a shipped one.
rule teachers:
    input:
        RESULTS.teachers(),
    message:
        "all teachers are trained"


# The students that are shipped, at the full budget of their recipes; `kdx2i ship` ships one.
rule students:
    input:
        RESULTS.students(),
    message:
        "all students are distilled"


# The feature networks that the suite trains, from all their seeds; `kdx2i ship` puts the first in place.
rule features:
    input:
        RESULTS.feature_networks(),
    message:
        "all feature networks are trained"


# The encoders of captions and speech; `kdx2i ship` puts one in place.
rule encoders:
    input:
        RESULTS.encoders(),
    message:
        "all encoders are trained"


for table_name in PLAN.tables:

    rule:
        name:
            table_name
        input:
            results=RESULTS.files_behind([table_name]),
            comparison=rules.compare.output,
        localrule: True
        message:
            f"{table_name} is complete"


for figure_name in RESULTS.figures():

    rule:
        name:
            figure_name
        input:
            RESULTS.files_behind_figure(figure_name),
        localrule: True
        message:
            f"{figure_name} is drawn"
