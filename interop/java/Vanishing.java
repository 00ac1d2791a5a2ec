import java.io.IOException;
import java.util.Map;

/** A group's member in a process of its own, to be killed; it ends by itself when its standard input does. */
final class Vanishing {
    private Vanishing() {}

    /** Start one. */
    static Process start(World world, String group, String topic) throws Exception {
        return new ProcessBuilder(
                        ProcessHandle.current().info().command().orElse("java"),
                        "-Xmx64m", "-cp", System.getProperty("java.class.path"),
                        "Vanishing", world.bootstrap, group, topic)
                .redirectOutput(ProcessBuilder.Redirect.DISCARD)
                .redirectError(ProcessBuilder.Redirect.DISCARD)
                .start();
    }

    public static void main(String[] arguments) {
        try (World world = new World(arguments[0], "", 1);
                Member member = new Member(world, arguments[1], arguments[2], Map.of())) {
            Thread watcher = new Thread(() -> {
                try {
                    System.in.read();
                } catch (IOException gone) {
                    // It has ended as well.
                }
                Runtime.getRuntime().halt(0);
            });
            watcher.setDaemon(true);
            watcher.start();
            while (true) {
                member.poll();
            }
        }
    }
}
