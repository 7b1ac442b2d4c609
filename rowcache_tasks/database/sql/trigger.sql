DROP TRIGGER IF EXISTS {trigger} ON {relation};
CREATE TRIGGER {trigger} AFTER {event} ON {relation}{tables} FOR EACH STATEMENT EXECUTE FUNCTION {function}();
