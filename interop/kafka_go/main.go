// Command kafka-go walks all steps that segmentio's kafka-go can do; see interop/README.md for what it prints.
package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/segmentio/kafka-go"
)

// names are Kafka's, which the library does not have.
var names = map[kafka.Error]string{
	3: "UNKNOWN_TOPIC_OR_PARTITION", 17: "INVALID_TOPIC_EXCEPTION", 24: "INVALID_GROUP_ID", 35: "UNSUPPORTED_VERSION",
	36: "TOPIC_ALREADY_EXISTS", 37: "INVALID_PARTITIONS", 38: "INVALID_REPLICATION_FACTOR", 40: "INVALID_CONFIG",
	41: "NOT_CONTROLLER", 42: "INVALID_REQUEST", 47: "INVALID_PRODUCER_EPOCH", 54: "SECURITY_DISABLED",
	68: "NON_EMPTY_GROUP", 69: "GROUP_ID_NOT_FOUND", 84: "ELECTION_NOT_NEEDED", 90: "PRODUCER_FENCED",
	91: "RESOURCE_NOT_FOUND",
}

// world is the cluster under test, and short ways to make clients of it.
type world struct {
	*target
	client *kafka.Client
}

func main() {
	w := &world{target: commandLine()}
	w.client = &kafka.Client{Addr: kafka.TCP(w.bootstrap...), Timeout: 10 * time.Second}
	report := reporter{errorName}
	report.library("github.com/segmentio/kafka-go")
	walkRecords(w, report)
	walkGroups(w, report)
	walkTransactions(w, report)
	walkTopics(w, report)
	walkAdministration(w, report)
}

func errorName(err error) string {
	var code kafka.Error
	if errors.As(err, &code) {
		return names[code]
	}
	return ""
}

func firstOf(errors ...error) error {
	for _, each := range errors {
		if each != nil {
			return each
		}
	}
	return nil
}

func value(number int) string { return fmt.Sprintf("v%d", number) }

// topic makes one that no other step uses, and waits until every broker names its leaders.
func (w *world) topic(ctx context.Context, what string, partitions int) (string, error) {
	name := w.unused(what)
	made, err := w.client.CreateTopics(ctx, &kafka.CreateTopicsRequest{
		Topics: []kafka.TopicConfig{{Topic: name, NumPartitions: partitions, ReplicationFactor: w.replication}},
	})
	if err = firstOf(err, errorOf(made, name)); err != nil {
		return "", err
	}
	// The library's transport keeps metadata for a while, and its writer takes partitions from there.
	return name, until(ctx, "the topic's leaders", func() (bool, error) {
		found, err := w.metadata(ctx, name)
		return err == nil && len(found.Partitions) == partitions, nil
	})
}

func errorOf(made *kafka.CreateTopicsResponse, name string) error {
	if made == nil {
		return nil
	}
	return made.Errors[name]
}

func (w *world) metadata(ctx context.Context, name string) (kafka.Topic, error) {
	found, err := w.client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{name}})
	if err != nil {
		return kafka.Topic{}, err
	}
	return found.Topics[0], found.Topics[0].Error
}

// writer sends each message to the partition that its header says.
func (w *world) writer(topic string) *kafka.Writer {
	return &kafka.Writer{
		Addr: kafka.TCP(w.bootstrap...), Topic: topic, RequiredAcks: kafka.RequireAll, BatchTimeout: 20 * time.Millisecond,
		Balancer: kafka.BalancerFunc(func(message kafka.Message, partitions ...int) int {
			number, _ := strconv.Atoi(string(message.Headers[0].Value))
			return partitions[number%len(partitions)]
		}),
	}
}

func number(of int) []kafka.Header {
	return []kafka.Header{{Key: "number", Value: fmt.Append(nil, of)}}
}

// fill writes values v<first>, … by turns to the topic's partitions.
func (w *world) fill(ctx context.Context, topic string, first, count int) error {
	writer := w.writer(topic)
	defer writer.Close()
	var messages []kafka.Message
	for each := first; each < first+count; each++ {
		messages = append(messages, kafka.Message{Value: []byte(value(each)), Headers: number(each)})
	}
	return writer.WriteMessages(ctx, messages...)
}

func (w *world) reader(topic string, partition int) *kafka.Reader {
	return kafka.NewReader(kafka.ReaderConfig{
		Brokers: w.bootstrap, Topic: topic, Partition: partition, MaxWait: 100 * time.Millisecond,
		ReadBatchTimeout: 5 * time.Second,
	})
}

// read gets that many messages, and none more within a while.
func read(ctx context.Context, reader *kafka.Reader, count int) ([]kafka.Message, error) {
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var found []kafka.Message
	for len(found) < count {
		message, err := reader.ReadMessage(bounded)
		if bounded.Err() != nil {
			return nil, failed("only %d of %d records came", len(found), count)
		}
		if err != nil {
			return nil, err
		}
		found = append(found, message)
	}
	brief, done := context.WithTimeout(ctx, 300*time.Millisecond)
	defer done()
	if _, err := reader.ReadMessage(brief); err == nil {
		return nil, failed("more than %d records came", count)
	}
	return found, nil
}
