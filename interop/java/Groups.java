import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;

/** Consumer groups of both protocols, their rebalances, and what they commit. */
final class Groups {
    private static final int PARTITIONS = 4;
    private static final int COUNT = 40;

    private final World world;

    Groups(World world) {
        this.world = world;
    }

    void walk(Steps steps) {
        steps.step("group_two_members", () -> twoMembers("two", Map.of()));
        steps.step("rebalance_on_leave", this::onLeave);
        steps.step("rebalance_on_close_without_leave", this::onVanishing);
        steps.step("static_membership", this::staticMembership);
        steps.step("cooperative_rebalance", this::cooperative);
        steps.step("next_gen_group", this::nextGeneration);
        steps.step("commit_and_resume", this::commitAndResume);
    }

    /** A topic with `COUNT` records and a group's name. */
    private record Scene(String topic, String group) {}

    private Scene scene(String what) throws Exception {
        String topic = world.topic(what, PARTITIONS);
        world.fill(topic, PARTITIONS, 0, COUNT);
        return new Scene(topic, world.name(what));
    }

    private Member member(Scene scene, Map<String, ?> settings) {
        return new Member(world, scene.group, scene.topic, settings);
    }

    private static void share(Member first, Member second) throws Exception {
        Member.until("two partitions each", List.of(first, second), () ->
                first.assigned().size() == PARTITIONS / 2 && second.assigned().size() == PARTITIONS / 2);
        Set<TopicPartition> all = new HashSet<>(first.assigned());
        all.addAll(second.assigned());
        Steps.equal(all.size(), PARTITIONS, "the number of partitions that somebody has");
    }

    /** Records that are written now arrive once, at whoever is there. */
    private void arrive(Scene scene, int first, Member... members) throws Exception {
        world.fill(scene.topic, PARTITIONS, first, COUNT);
        Set<String> wanted = new HashSet<>();
        for (int number = first; number < first + COUNT; number++) {
            wanted.add("v" + number);
        }
        List<String> found = new ArrayList<>();
        Member.until("all records", List.of(members), () -> {
            found.clear();
            for (Member each : members) {
                each.values.stream().filter(wanted::contains).forEach(found::add);
            }
            return found.size() >= COUNT;
        });
        Steps.equal(found.size(), COUNT, "the number of records");
        Steps.equal(new HashSet<>(found), wanted, "what arrived");
    }

    private String twoMembers(String what, Map<String, ?> settings) throws Exception {
        Scene scene = scene(what);
        try (Member first = member(scene, settings); Member second = member(scene, settings)) {
            share(first, second);
            arrive(scene, 1000, first, second);
        }
        return null;
    }

    private String onLeave() throws Exception {
        Scene scene = scene("leave");
        try (Member first = member(scene, Map.of())) {
            try (Member second = member(scene, Map.of())) {
                share(first, second);
            }
            long begun = System.nanoTime();
            Member.until("all partitions", List.of(first), () -> first.assigned().size() == PARTITIONS);
            long took = (System.nanoTime() - begun) / 1_000_000;
            Steps.check(took < 5000, "it took " + took + " ms");
            arrive(scene, 1000, first);
            return "after " + took + " ms";
        }
    }

    private String onVanishing() throws Exception {
        Scene scene = scene("vanish");
        try (Member first = member(scene, Map.of())) {
            Process second = Vanishing.start(world, scene.group, scene.topic);
            try {
                Member.until("all partitions", List.of(first), () -> first.assigned().size() == PARTITIONS);
                Member.until("half of them", List.of(first), () -> first.assigned().size() == PARTITIONS / 2);
            } finally {
                second.destroyForcibly().waitFor();
            }
            long begun = System.nanoTime();
            Member.until("all partitions", List.of(first), () -> first.assigned().size() == PARTITIONS);
            long took = (System.nanoTime() - begun) / 1_000_000;
            Steps.check(took > 3000, "it took but " + took + " ms: somebody has left for it");
            arrive(scene, 1000, first);
            return "after " + took + " ms";
        }
    }

    private String staticMembership() throws Exception {
        Scene scene = scene("static");
        Map<String, ?> settings = Map.of("group.instance.id", "second", "session.timeout.ms", 20_000);
        Map<String, ?> others = Map.of("group.instance.id", "first", "session.timeout.ms", 20_000);
        try (Member first = member(scene, others)) {
            Set<TopicPartition> before;
            try (Member second = member(scene, settings)) {
                share(first, second);
                before = Set.copyOf(second.assigned());
            }
            int rebalances = first.rebalances;
            try (Member again = member(scene, settings)) {
                Member.until("its partitions", List.of(first, again), () -> !again.assigned().isEmpty());
                Steps.equal(again.assigned(), before, "what the one that came back has");
                arrive(scene, 1000, first, again);
                Steps.equal(first.rebalances, rebalances, "the other's number of rebalances");
            }
        }
        return null;
    }

    private String cooperative() throws Exception {
        Scene scene = scene("cooperative");
        Map<String, ?> settings = Map.of(
                "partition.assignment.strategy", "org.apache.kafka.clients.consumer.CooperativeStickyAssignor");
        try (Member first = member(scene, settings)) {
            Member.until("all partitions", List.of(first), () -> first.assigned().size() == PARTITIONS);
            try (Member second = member(scene, settings)) {
                share(first, second);
                Steps.equal(first.revoked.size(), PARTITIONS / 2, "the number of partitions taken from the first");
                Steps.check(first.assigned().stream().noneMatch(first.revoked::contains), "one was taken and given back");
                Steps.equal(first.lost, 0, "the number of losses");
                arrive(scene, 1000, first, second);
            }
        }
        return null;
    }

    private String nextGeneration() throws Exception {
        for (String assignor : List.of("uniform", "range")) {
            twoMembers("next-" + assignor, Map.of("group.protocol", "consumer", "group.remote.assignor", assignor));
        }
        Scene scene = scene("next-leave");
        try (Member first = member(scene, Map.of("group.protocol", "consumer"))) {
            try (Member second = member(scene, Map.of("group.protocol", "consumer"))) {
                share(first, second);
            }
            Member.until("all partitions", List.of(first), () -> first.assigned().size() == PARTITIONS);
            arrive(scene, 1000, first);
            first.consumer.commitSync();
        }
        try (Member classic = member(scene, Map.of())) {
            Member.until("all partitions", List.of(classic), () -> classic.assigned().size() == PARTITIONS);
            for (TopicPartition each : classic.assigned()) {
                Steps.equal(classic.consumer.position(each), 2L * COUNT / PARTITIONS, "where a classic member goes on");
            }
        }
        return "uniform, range, one leaves, a classic member goes on";
    }

    private String commitAndResume() throws Exception {
        Scene scene = scene("resume");
        TopicPartition one = new TopicPartition(scene.topic, 1);
        try (Member first = member(scene, Map.of())) {
            Member.until("all records", List.of(first), () -> first.values.size() == COUNT);
            Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
            for (TopicPartition each : first.assigned()) {
                offsets.put(each, new OffsetAndMetadata(each.partition() + 3, "metadata of " + each.partition()));
            }
            first.consumer.commitSync(offsets);
        }
        try (Member second = member(scene, Map.of())) {
            int rest = COUNT - (3 + 4 + 5 + 6);
            Member.until("the other records", List.of(second), () -> second.values.size() >= rest);
            Steps.equal(second.values.size(), rest, "the number of records");
            OffsetAndMetadata committed = second.consumer.committed(Set.of(one)).get(one);
            Steps.equal(committed.offset(), 4L, "the committed offset");
            Steps.equal(committed.metadata(), "metadata of 1", "its metadata");
        }
        return null;
    }
}
