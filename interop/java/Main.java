import java.io.IOException;
import java.io.InputStream;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.ThreadLocalRandom;

/** Walks all steps of Apache Kafka's own Java client; see interop/README.md for what it prints. */
public final class Main {
    private Main() {}

    public static void main(String[] arguments) throws IOException {
        Map<String, String> options = options(arguments);
        Steps steps = new Steps();
        steps.library("org.apache.kafka:kafka-clients", version());
        int replicas = Integer.parseInt(options.get("--replication-factor"));
        try (World world = new World(options.get("--bootstrap"), options.get("--prefix"), replicas)) {
            new Records(world).walk(steps);
            new Groups(world).walk(steps);
            new Transactions(world).walk(steps);
            new Topics(world).walk(steps);
            new Administration(world).walk(steps);
        }
    }

    private static String version() throws IOException {
        try (InputStream said = Main.class.getResourceAsStream("/kafka/kafka-version.properties")) {
            Properties properties = new Properties();
            properties.load(said);
            return properties.getProperty("version");
        }
    }

    private static Map<String, String> options(String[] arguments) {
        Map<String, String> options = new HashMap<>();
        for (int index = 0; index + 1 < arguments.length; index += 2) {
            options.put(arguments[index], arguments[index + 1]);
        }
        options.putIfAbsent("--prefix", "java-" + ThreadLocalRandom.current().nextInt(1_000_000));
        options.putIfAbsent("--replication-factor", "1");
        return options;
    }
}
