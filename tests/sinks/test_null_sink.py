from stream.sinks import NullSink


def test_it_counts(result):
    sink = NullSink()
    sink.open()
    sink.write(*result(0, objects=2))
    sink.write(*result(1, objects=3))
    sink.close()
    assert (sink.frames, sink.objects) == (2, 5)
