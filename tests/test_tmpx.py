def test_x(tiny):
    from auditor.bundle import read_facts
    for m in read_facts(tiny.bundle).record.measurements:
        if m.metric=="accuracy_drop" and m.seeds: print(m.of,m.at,m.value,m.low,m.high)
