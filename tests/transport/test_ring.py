"""The shared-memory ring: generations, leases, reaping, sizes."""

import os
import subprocess
import sys

import numpy as np
import pytest

from stream.transport import Ring, StoreError
from stream.transport.headers import LocalRef, SlotRef

CONSUMERS = ("tracker", "publisher")


@pytest.fixture
def ring():
    made = Ring.create(4, CONSUMERS, slot_bytes=1 << 16)
    yield made
    made.close()


def arrays(value=7):
    return {
        "image": np.full((5, 3), value, np.uint16),
        "display": np.arange(45, dtype=np.uint8).reshape(5, 3, 3),
    }


def test_what_is_put_comes_back_read_only(ring):
    ref = ring.put(arrays(), "tracker")
    found = ring.get(ref, "tracker")
    for name, array in arrays().items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype
        assert not found[name].flags.writeable


def test_arrays_that_are_not_contiguous_are_copied_right(ring):
    image = np.arange(60, dtype=np.uint8).reshape(10, 6)[::2, ::-1]
    ref = ring.put({"image": image}, "tracker")
    np.testing.assert_array_equal(ring.get(ref, "tracker")["image"], image)


def test_a_slot_is_taken_until_its_last_lease_ends(ring):
    refs = [ring.put(arrays(), "tracker") for _ in range(4)]
    assert ring.usage() == (4, 4)
    assert ring.put(arrays(), "tracker") is None
    assert ring.pass_on(refs[2], "tracker", "publisher")
    assert ring.put(arrays(), "tracker") is None
    assert ring.release(refs[2], "publisher")
    assert ring.usage() == (3, 4)
    again = ring.put(arrays(9), "tracker")
    assert again.slot == refs[2].slot
    assert again.generation > refs[2].generation


def test_the_holder_changes_with_pass_on(ring):
    ref = ring.put(arrays(), "tracker")
    ring.pass_on(ref, "tracker", "publisher")
    with pytest.raises(StoreError, match="not leased to tracker any more"):
        ring.get(ref, "tracker")
    assert ring.get(ref, "publisher")["image"][0, 0] == 7
    assert not ring.release(ref, "tracker")


def test_an_old_generation_never_gives_new_pixels(ring):
    old = ring.put(arrays(1), "tracker")
    ring.release(old, "tracker")
    new = ring.put(arrays(2), "tracker")
    assert new.slot == old.slot
    with pytest.raises(StoreError, match=f"slot 0 of generation {old.generation} is not leased"):
        ring.get(old, "tracker")
    assert not ring.release(old, "tracker")
    assert not ring.pass_on(old, "tracker", "publisher")
    assert ring.get(new, "tracker")["image"][0, 0] == 2


def test_reaping_takes_back_one_consumers_leases_only(ring):
    kept = ring.put(arrays(), "publisher")
    lost = [ring.put(arrays(), "tracker") for _ in range(3)]
    assert ring.free == 0
    assert ring.reap("tracker") == 3
    assert ring.free == 3
    assert ring.get(kept, "publisher")["image"][0, 0] == 7
    with pytest.raises(StoreError, match="not leased"):
        ring.get(lost[0], "tracker")


def test_a_dead_consumer_is_found_and_reaped(ring):
    code = (
        "import sys; from stream.transport import Ring\n"
        "ring = Ring.attach(int(sys.argv[1]), 'tracker'); print(ring.free)"
    )
    ring.put(arrays(), "tracker")
    assert ring.reap_dead() == {}
    child = subprocess.run(
        [sys.executable, "-c", code, str(ring.fileno())],
        pass_fds=[ring.fileno()],
        capture_output=True,
        text=True,
        cwd=os.getcwd(),
        check=True,
    )
    assert child.stdout.strip() == "3"
    for _ in range(3):
        ring.put(arrays(), "publisher")
    assert ring.free == 0
    assert ring.put(arrays(), "publisher") is not None, "the dead consumer's slot is taken back"
    assert ring.reap_dead() == {}


def test_another_process_sees_the_same_bytes_and_ends_the_lease(ring):
    code = (
        "import sys, msgspec; from stream.transport import Ring\n"
        "from stream.transport.headers import SlotRef\n"
        "ref = msgspec.json.decode(sys.argv[2], type=SlotRef)\n"
        "ring = Ring.attach(int(sys.argv[1]), 'tracker')\n"
        "print(int(ring.get(ref, 'tracker')['image'].sum())); ring.release(ref, 'tracker')"
    )
    import msgspec

    ref = ring.put(arrays(), "tracker")
    child = subprocess.run(
        [sys.executable, "-c", code, str(ring.fileno()), msgspec.json.encode(ref).decode()],
        pass_fds=[ring.fileno()],
        capture_output=True,
        text=True,
        check=True,
    )
    assert child.stdout.strip() == str(7 * 15)
    assert ring.free == 4


def test_a_frame_larger_than_a_slot_is_refused_with_both_sizes(ring):
    with pytest.raises(
        StoreError,
        match=r"a frame of 1 MiB does not fit a slot of 0 MiB; scale the source down",
    ):
        ring.put({"image": np.zeros((1024, 1024), np.uint8)}, "tracker")
    assert ring.free == 4


def test_capacity_costs_no_memory_until_it_is_used():
    ring = Ring.create(64, CONSUMERS)
    ring.put({"image": np.ones((100, 100, 3), np.uint8)}, "tracker")
    assert os.fstat(ring.fileno()).st_blocks * 512 < 1 << 20
    ring.close()


def test_foreign_references_and_names_are_errors(ring):
    ref = ring.put(arrays(), "tracker")
    with pytest.raises(
        StoreError, match=r"'web' holds no leases in this ring; known: tracker, pub"
    ):
        ring.get(ref, "web")
    with pytest.raises(StoreError, match="slot 9 of generation 1 is not in this ring of 4 slots"):
        ring.get(SlotRef(9, 1, ref.arrays), "tracker")
    with pytest.raises(StoreError, match="LocalRef is not in this ring"):
        ring.get(LocalRef(0), "tracker")


def test_a_descriptor_that_is_no_ring_is_an_error():
    fd = os.memfd_create("other")
    with pytest.raises(StoreError, match=f"descriptor {fd} is not a frame ring"):
        Ring.attach(fd)
    os.close(fd)


def test_closing_twice_and_with_views_alive_is_allowed():
    ring = Ring.create(4, CONSUMERS, slot_bytes=1 << 16)
    view = ring.get(ring.put(arrays(), "tracker"), "tracker")["image"]
    ring.close()
    ring.close()
    assert view[0, 0] == 7
