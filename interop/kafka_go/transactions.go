package main

import (
	"context"

	"github.com/segmentio/kafka-go"
)

// walkTransactions finds little: the library has the coordinator's requests, and no producer that uses them.
func walkTransactions(w *world, report reporter) {
	lacks := func(why string) func(context.Context) (string, error) {
		return func(context.Context) (string, error) { return "", unsupported(why) }
	}
	for _, step := range []string{"transactions_copy", "transaction_abort", "read_committed"} {
		report.step(step, lacks("its writer has no transactions"))
	}
	report.step("fenced_producer", func(ctx context.Context) (string, error) { return fenced(ctx, w) })
	report.step("list_transactions", lacks("it has no such request"))
	report.step("describe_transactions", lacks("it has no such request"))
	report.step("describe_transaction_unknown", lacks("it has no such request"))
}

// fenced tells what the coordinator says to the first of two producers, by the requests alone.
func fenced(ctx context.Context, w *world) (string, error) {
	topic, err := w.topic(ctx, "fenced", 1)
	if err != nil {
		return "", err
	}
	id := w.name("twice")
	first, err := begin(ctx, w, id, topic)
	if err != nil {
		return "", err
	}
	if _, err := begin(ctx, w, id, topic); err != nil {
		return "", err
	}
	return "AddPartitionsToTxn", add(ctx, w, id, topic, first)
}

func begin(ctx context.Context, w *world, id, topic string) (*kafka.ProducerSession, error) {
	var session *kafka.ProducerSession
	err := until(ctx, "a producer id", func() (bool, error) {
		made, err := w.client.InitProducerID(ctx, &kafka.InitProducerIDRequest{
			TransactionalID: id, TransactionTimeoutMs: 15_000, ProducerID: -1, ProducerEpoch: -1,
		})
		if err != nil {
			return false, err
		}
		session = made.Producer
		// A predecessor's transaction is aborted first, and the library leaves asking again to its user.
		if made.Error == kafka.ConcurrentTransactions || made.Error == kafka.GroupLoadInProgress {
			return false, nil
		}
		return made.Error == nil, made.Error
	})
	if err != nil {
		return nil, err
	}
	return session, until(ctx, "a partition in the transaction", func() (bool, error) {
		err := add(ctx, w, id, topic, session)
		if err == kafka.ConcurrentTransactions {
			return false, nil
		}
		return err == nil, err
	})
}

func add(ctx context.Context, w *world, id, topic string, session *kafka.ProducerSession) error {
	done, err := w.client.AddPartitionsToTxn(ctx, &kafka.AddPartitionsToTxnRequest{
		TransactionalID: id, ProducerID: session.ProducerID, ProducerEpoch: session.ProducerEpoch,
		Topics: map[string][]kafka.AddPartitionToTxn{topic: {{Partition: 0}}},
	})
	if err != nil {
		return err
	}
	return done.Topics[topic][0].Error
}
