# One target for each table of benchmarks/tables, and all of them together. A target asks for every file
# that its table is made from: a missing or stale result can never hide behind an old table.
localrules:
    tables,
    splits,


rule tables:
    default_target: True
    input:
        results=RESULTS.files_behind(PLAN.tables),
        comparison=rules.compare.output,
    message:
        "all tables are complete"


rule splits:
    input:
        RESULTS.splits(),
    message:
        "all splits are complete"


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
