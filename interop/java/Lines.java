import java.io.BufferedInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.PrintStream;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Lines to records and back: `write BOOTSTRAP TOPIC` sends the lines that it is given to partition 0, and ends when all
 * are acknowledged; `read BOOTSTRAP TOPIC COUNT` prints offset and value of so many records.
 */
public final class Lines {
    private Lines() {}

    public static void main(String[] arguments) throws Exception {
        if (arguments[0].equals("write")) {
            write(arguments[1], arguments[2]);
        } else {
            read(arguments[1], arguments[2], Integer.parseInt(arguments[3]));
        }
    }

    private static void write(String bootstrap, String topic) throws Exception {
        Map<String, Object> settings = Map.of(
                "bootstrap.servers", bootstrap, "enable.idempotence", true, "linger.ms", 5,
                "request.timeout.ms", 5000, "delivery.timeout.ms", 60_000);
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        try (KafkaProducer<byte[], byte[]> producer =
                        new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer());
                InputStream lines = new BufferedInputStream(System.in)) {
            for (byte[] line = line(lines); line != null; line = line(lines)) {
                sent.add(producer.send(new ProducerRecord<>(topic, 0, null, line)));
            }
        }
        for (Future<RecordMetadata> each : sent) {
            each.get();
        }
    }

    /** The next line without its end, null after the last one. */
    private static byte[] line(InputStream lines) throws IOException {
        ByteArrayOutputStream line = new ByteArrayOutputStream();
        for (int next = lines.read(); next != '\n'; next = lines.read()) {
            if (next < 0) {
                return null;
            }
            line.write(next);
        }
        return line.toByteArray();
    }

    private static void read(String bootstrap, String topic, int count) throws IOException {
        Map<String, Object> settings = Map.of(
                "bootstrap.servers", bootstrap, "enable.auto.commit", false, "request.timeout.ms", 5000, "default.api.timeout.ms", 60_000);
        TopicPartition partition = new TopicPartition(topic, 0);
        try (KafkaConsumer<byte[], byte[]> consumer =
                        new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
                PrintStream found = new PrintStream(System.out, false)) {
            consumer.assign(List.of(partition));
            consumer.seekToBeginning(List.of(partition));
            for (int read = 0; read < count; ) {
                for (ConsumerRecord<byte[], byte[]> each : consumer.poll(World.POLL)) {
                    found.print(each.offset() + "\t");
                    found.write(each.value());
                    found.print("\n");
                    read++;
                }
            }
        }
    }
}
