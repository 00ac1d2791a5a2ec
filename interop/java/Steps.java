import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.errors.ApiException;
import org.apache.kafka.common.errors.TimeoutException;
import org.apache.kafka.common.protocol.Errors;

/** Runs steps and prints what each came to, one JSON object a line. */
final class Steps {
    /** What a step does; its result is the detail, null for none. */
    interface Step {
        String run() throws Exception;
    }

    /** Something is not as it should be, and no error of the broker's says so. */
    static final class Failed extends RuntimeException {
        Failed(String message) {
            super(message);
        }
    }

    static void check(boolean holds, String otherwise) {
        if (!holds) {
            throw new Failed(otherwise);
        }
    }

    static void equal(Object found, Object wanted, String what) {
        check(wanted.equals(found), what + " is " + found + " instead of " + wanted);
    }

    void library(String name, String version) {
        print("library", name, "version", version);
    }

    void step(String name, Step step) {
        long begun = System.nanoTime();
        String outcome;
        String detail;
        try {
            detail = step.run();
            outcome = "ok";
        } catch (Exception error) {
            Throwable cause = cause(error);
            outcome = outcome(cause);
            detail = outcome.equals("failed") ? cause.toString() : String.valueOf(cause.getMessage());
            if (outcome.equals("failed")) {
                System.err.println(name);
                cause.printStackTrace();
            }
        }
        if (System.getenv("INTEROP_TIMES") != null) {
            System.err.printf("%s took %d ms%n", name, (System.nanoTime() - begun) / 1_000_000);
        }
        print("step", name, "outcome", outcome, "detail", detail == null ? "" : detail);
    }

    private static Throwable cause(Throwable error) {
        Throwable found = error;
        while ((found instanceof ExecutionException || found instanceof CompletionException
                || found.getClass() == KafkaException.class) && found.getCause() != null) {
            found = found.getCause();
        }
        return found;
    }

    /** Kafka's name of the error; a time that is up is the client's finding, whatever its class. */
    private static String outcome(Throwable error) {
        if (!(error instanceof ApiException) || error instanceof TimeoutException) {
            return "failed";
        }
        Errors code = Errors.forException(error);
        return code == Errors.UNKNOWN_SERVER_ERROR ? "failed" : code.name();
    }

    private static void print(String... namesAndValues) {
        StringBuilder line = new StringBuilder("{");
        for (int index = 0; index < namesAndValues.length; index += 2) {
            line.append(index == 0 ? "" : ", ").append(quoted(namesAndValues[index]));
            line.append(": ").append(quoted(namesAndValues[index + 1]));
        }
        System.out.println(line.append("}"));
        System.out.flush();
    }

    private static String quoted(String text) {
        StringBuilder quoted = new StringBuilder("\"");
        for (char each : text.toCharArray()) {
            if (each == '"' || each == '\\') {
                quoted.append('\\').append(each);
            } else if (each < ' ') {
                quoted.append(' ');
            } else {
                quoted.append(each);
            }
        }
        return quoted.append('"').toString();
    }
}
